"""How a run ends where the disk refuses, or the source hangs and the store has failed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from care_live.errors import StoreError
from tests.make.refusing_store import KEYS, refuse
from tests.make.scripted import Script, Scripted, frames, plan, scripted_daemon, started

pytestmark = [pytest.mark.slow]


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
