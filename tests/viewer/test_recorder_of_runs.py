"""A recorder goes on with the next run of a daemon that has one after the other, each in its own folder."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from msgspec.structs import replace

from care_live.config import StoreConfig
from care_live.images import NetworkInUse, Plan, RunStarted
from care_live.live_frame import LIVE_RUN
from care_live.publish import Publisher, Subscriber
from care_live.store import verify
from care_live.viewer.recorded_run import RecordingReport
from care_live.viewer.recorder_of_runs import record_runs
from care_live.wire.daemon_status import Status
from tests.make import samples

N_TIMES = 3
WAIT_S = 90.0


def publish_run(publisher: Publisher, run_id: str) -> None:
    publisher.start(samples.started(N_TIMES, run_id=run_id), NetworkInUse(samples.MODEL, {"name": "worm3d"}))
    for t in range(N_TIMES):
        restored = samples.restored(t)
        publisher.publish(replace(restored, raw=replace(restored.volume, run_id=run_id)))
    publisher.end(samples.ENDED)


@contextmanager
def recording(address: str, folder: Path, stopping: threading.Event) -> Iterator[queue.Queue[RecordingReport | None]]:
    """Record in a thread; yield its reports, behind the last one None."""
    reports: queue.Queue[RecordingReport | None] = queue.Queue()

    def work() -> None:
        with Subscriber(address, mode="every") as subscriber:
            for report in record_runs(subscriber, StoreConfig(directory=folder), stopping):
                reports.put(report)
        reports.put(None)

    thread = threading.Thread(target=work, name="test-recorder")
    thread.start()
    try:
        yield reports
    finally:
        stopping.set()
        thread.join(WAIT_S)


def test_run_after_run_is_recorded_each_in_its_folder(tmp_path: Path) -> None:
    stopping = threading.Event()
    with closing(Publisher(samples.config())) as publisher:
        publisher.heartbeat(Status(more_runs=True))
        with recording(publisher.address_pull, tmp_path, stopping) as reports:
            for run_id in ("evening", "evening-2"):
                publish_run(publisher, run_id)
                report = reports.get(timeout=WAIT_S)
                assert report is not None
                assert (report.run_id, report.n_raw, report.n_restored, report.gaps) == (run_id, N_TIMES, N_TIMES, [])
                assert verify(tmp_path / run_id).clean
                publisher.start(RunStarted(LIVE_RUN, Plan({}, (8, 8), endless=True), {"live": True}), samples.NETWORK)
            stopping.set()
            assert reports.get(timeout=WAIT_S) is None


def test_of_a_daemon_with_one_run_it_ends_with_the_run(tmp_path: Path) -> None:
    with (
        closing(Publisher(samples.config())) as publisher,
        recording(publisher.address_pull, tmp_path, threading.Event()) as reports,
    ):
        publish_run(publisher, "evening")
        report = reports.get(timeout=WAIT_S)
        assert report is not None and report.n_raw == N_TIMES
        assert reports.get(timeout=WAIT_S) is None
