"""What watchers read of each worker."""

from __future__ import annotations

import msgspec

from care_live.daemon.heartbeat import heartbeat_of
from care_live.daemon.run_metrics import DaemonStatus
from care_live.wire.daemon_status import Status
from tests.make.worker_states import WORKERS


def test_watchers_read_what_each_worker_does() -> None:
    status = heartbeat_of(DaemonStatus(workers=WORKERS))
    assert status.workers == (
        "0 on cuda:0: restoring, 7 volumes",
        "1 on cuda:1: starting, 6 volumes, restarts 1",
    )
    assert msgspec.json.decode(msgspec.json.encode(status), type=Status) == status
