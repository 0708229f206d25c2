"""The storing stage waits for a full disk, and loses nothing that waits behind a refused volume."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from care_live.daemon import ending
from care_live.errors import StoreError
from care_live.images import Volume
from care_live.store import RunReader, RunWriter
from tests.make.refusing_store import KEYS, refuse
from tests.make.scripted import Script, Scripted, frames, plan, scripted_daemon, started

pytestmark = [pytest.mark.slow]


class Said(logging.Handler):
    """Sets an event once a line has some words."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words, self.came = words, threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.words in record.getMessage():
            self.came.set()


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
