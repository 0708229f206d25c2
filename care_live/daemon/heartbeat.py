"""What viewers receive about a run every second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from care_live.daemon.run_metrics import DaemonStatus
from care_live.wire.daemon_status import Status

_NOTE_CHARACTERS, _WORKER_CHARACTERS, _MOST_WORKERS = 1000, 128, 64
"""As many as a message may carry; the status that operators ask for has all."""


def heartbeat_of(status: DaemonStatus) -> Status:
    """Return the part of a status that goes to every watcher."""
    return Status(
        planes_per_s=status.planes_per_s,
        volumes_per_s=status.volumes_per_s,
        queue_depths={"live": status.waiting_volumes, "later": status.waiting_later},
        planes_lost=status.lost_planes,
        planes_dropped=sum(status.dropped_planes.values()),
        volumes_skipped=status.skipped,
        volumes_refused=status.refused_volumes,
        volumes_restored=status.restored,
        workers=tuple(map(_words, status.workers[:_MOST_WORKERS])) or msgspec.UNSET,
        disk_s_left=status.disk_seconds_left,
        more_runs=status.more_runs or msgspec.UNSET,
        note="; ".join(filter(None, (status.detail, status.publishing, *status.warnings)))[:_NOTE_CHARACTERS],
    )


def _words(worker: Mapping[str, Any]) -> str:
    """Return what one of several workers does, in a few words."""
    lost = f", restarts {worker['restarts']}" if worker["restarts"] else ""
    where = f"{worker['host']} {worker['device']}" if "host" in worker else worker["device"]
    said = f"{worker['worker']} on {where}: {worker['state']}, {worker['restored']} volumes{lost}"
    return said if len(said) <= _WORKER_CHARACTERS else f"{said[: _WORKER_CHARACTERS - 1]}…"
