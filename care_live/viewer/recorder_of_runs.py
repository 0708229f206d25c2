"""One run after the other, as a daemon publishes them: each becomes a recording of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from care_live.config import StoreConfig
from care_live.publish.subscriber import AWAY_S, Subscriber
from care_live.viewer.recorded_run import RecordingReport, is_live
from care_live.viewer.recorder import Recorder
from care_live.wire.messages import Start


def record_runs(subscriber: Subscriber, config: StoreConfig, stopping: threading.Event) -> Iterator[RecordingReport]:
    """Record the run that is on and, of a daemon that has one after the other, all that follow.

    Yields
    ------
    RecordingReport
        Of each run, when it has ended; of one without a run where `stopping` was set before any began.

    Raises
    ------
    StoreError, ProtocolError
        As of `Recorder.record`.
    """
    start: Start | None = None
    while True:
        recorder = Recorder(subscriber, config, start)
        report = recorder.record(stopping)
        yield report
        start = recorder.next_start or _next_start(subscriber, report, stopping)
        if start is None:
            return


def _next_start(subscriber: Subscriber, last: RecordingReport, stopping: threading.Event) -> Start | None:
    """Wait for the start of a further run; None: the daemon has one run, or `stopping` was set."""
    until_s = time.monotonic() + AWAY_S
    while not stopping.is_set():
        beat = subscriber.heartbeat
        if time.monotonic() > until_s if beat is None else beat.status.more_runs is not True:
            return None
        message = subscriber.next(0.5)
        if isinstance(message, Start) and not is_live(message) and not _is_of(message, last):
            return message
    return None


def _is_of(start: Start, last: RecordingReport) -> bool:
    """Whether it is the start of the run that was recorded: the answer to a watcher that connects anew."""
    return (start.session, start.run) == (last.session, last.run_id)
