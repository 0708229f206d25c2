"""How a run ends where the disk refuses, or the source hangs and the store has failed."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from care_live.daemon import ending
from care_live.daemon.run import Daemon
from care_live.daemon.signals import drained_by_signals
from care_live.errors import StoreError
from care_live.images import Volume, VolumeKey
from care_live.store import RunReader, RunWriter, disk
from tests.make.scripted import Script, Scripted, frames, plan, scripted_daemon, started

pytestmark = [pytest.mark.slow]
KEYS = [VolumeKey(t) for t in range(3)]


class Said(logging.Handler):
    """Sets an event once a line has some words."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words, self.came = words, threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.words in record.getMessage():
            self.came.set()


def refuse(monkeypatch: pytest.MonkeyPatch, refuses: Callable[[], bool]) -> None:
    """Let the disk look full for as long as `refuses` says so."""
    monkeypatch.setattr(disk, "free_bytes", lambda path: 0 if refuses() else 2**40)


def test_a_full_disk_is_waited_for_also_after_the_last_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, waited = threading.Event(), Said("still wait to be written")
    refuse(monkeypatch, lambda: full.is_set() and not waited.came.is_set())
    monkeypatch.setattr(ending, "REPORT_S", 0.1)

    def script() -> Script:
        yield started(plan(KEYS))
        yield full.set
        for n, key in enumerate(KEYS, 1):
            yield from frames(key)
            while daemon.status().restored < n:  # live: nothing is left to be restored from the store
                yield None

    daemon, _ = scripted_daemon(tmp_path, Scripted(script()), monkeypatch, store={"full_wait_s": 60.0})
    logger = logging.getLogger(ending.__name__)
    logger.addHandler(waited)
    try:
        status = daemon.run()
    finally:
        logger.removeHandler(waited)
    assert waited.came.is_set()
    assert status.stored_raw == len(KEYS)
    assert RunReader(tmp_path / "runs" / "test").keys("raw") == KEYS


def test_a_source_that_hangs_and_a_store_that_failed_end_with_the_store_s_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, released = threading.Event(), threading.Event()
    refuse(monkeypatch, full.is_set)

    def script() -> Script:
        yield started(plan(KEYS))
        yield full.set
        yield from frames(KEYS[0])
        yield from frames(KEYS[1], 2)
        yield released.wait

    daemon, _ = scripted_daemon(
        tmp_path, Scripted(script(), obedient=False), monkeypatch, store={"full_wait_s": 0.0}, daemon={"drain_s": 1.0}
    )
    try:
        with pytest.raises(StoreError, match="not stored"):
            daemon.run()
    finally:
        released.set()


def test_a_volume_that_the_store_refuses_costs_none_of_those_that_wait_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_came, write = threading.Event(), RunWriter.write_raw

    def refuse_one(writer: RunWriter, volume: Volume) -> None:
        if volume.key == KEYS[1]:
            all_came.wait(60)
            raise StoreError("this one is refused")
        write(writer, volume)

    def script() -> Script:
        yield started(plan(KEYS))
        for key in KEYS:
            yield from frames(key)
        yield all_came.set

    monkeypatch.setattr(RunWriter, "write_raw", refuse_one)
    daemon, _ = scripted_daemon(tmp_path, Scripted(script()), monkeypatch, store={"full_wait_s": 0.0})
    with pytest.raises(StoreError, match="this one is refused"):
        daemon.run()
    assert RunReader(tmp_path / "runs" / "test").keys("raw") == [KEYS[0], KEYS[2]]


def test_signals_that_cannot_be_taken_leave_no_thread() -> None:
    failed: list[Exception] = []

    def elsewhere() -> None:
        try:
            with drained_by_signals(None):  # type: ignore[arg-type]
                pass
        except ValueError as error:  # only the main thread may take signals
            failed.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert failed
    assert "care-live signals" not in {one.name for one in threading.enumerate()}


@contextlib.contextmanager
def handled(number: int, handler: Any) -> Iterator[None]:
    """Handle a signal so while inside."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.skipif(sys.platform == "win32", reason="a closed terminal is no signal there")
def test_a_hang_up_drains_unless_nohup_has_it_ignored() -> None:
    drained = threading.Event()
    daemon = cast(Daemon, SimpleNamespace(drain=drained.set))
    with handled(signal.SIGHUP, signal.SIG_DFL), drained_by_signals(daemon):  # the tests may run under nohup
        signal.raise_signal(signal.SIGHUP)
        assert drained.wait(20)
    with handled(signal.SIGHUP, signal.SIG_IGN), drained_by_signals(daemon):
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_ctrl_c_drains_a_daemon_that_a_script_started_in_the_background() -> None:
    """There a shell has it ignored."""
    drained = threading.Event()
    daemon = cast(Daemon, SimpleNamespace(drain=drained.set))
    with handled(signal.SIGINT, signal.SIG_IGN), drained_by_signals(daemon):
        signal.raise_signal(signal.SIGINT)
        assert drained.wait(20)
