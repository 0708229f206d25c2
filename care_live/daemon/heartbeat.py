"""What viewers receive about a run every second."""

from __future__ import annotations

from care_live.daemon.run_metrics import DaemonStatus
from care_live.wire import messages

_NOTE_CHARACTERS = 1000
"""As many as a message may carry."""


def heartbeat_of(status: DaemonStatus) -> messages.Status:
    """Return the part of a status that goes to every watcher."""
    return messages.Status(
        planes_per_s=status.planes_per_s,
        volumes_per_s=status.volumes_per_s,
        queue_depths={"live": status.waiting_volumes, "later": status.waiting_later},
        planes_lost=status.lost_planes,
        planes_dropped=sum(status.dropped_planes.values()),
        volumes_skipped=status.skipped,
        volumes_refused=status.refused_volumes,
        volumes_restored=status.restored,
        disk_s_left=status.disk_seconds_left,
        note="; ".join(filter(None, (status.detail, status.publishing, *status.warnings)))[:_NOTE_CHARACTERS],
    )
