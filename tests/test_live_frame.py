"""The place for the newest frame: what is taken was put after it was wanted."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from care_live.live_frame import LatestFrame, LiveFrame

WAIT_S = 20.0


def frame(number: int) -> LiveFrame:
    return LiveFrame(np.full((2, 2), number, np.uint16), number, host_time_ns=number)


def test_a_frame_that_is_not_wanted_is_not_kept() -> None:
    newest = LatestFrame()
    newest.put(frame(1))
    assert not newest.is_wanted
    assert newest.take(0.01) is None


def test_what_is_taken_was_put_after_it_was_wanted() -> None:
    rung = threading.Event()
    newest = LatestFrame(on_wanted=rung.set)
    newest.put(frame(1))
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(newest.take, WAIT_S)
        assert rung.wait(WAIT_S)
        assert newest.wait_wanted(WAIT_S)
        newest.put(frame(2))
        found = taken.result(WAIT_S)
    assert found is not None
    assert found.number == 2
    assert not newest.is_wanted


def test_closing_ends_both_waits() -> None:
    newest = LatestFrame()
    with ThreadPoolExecutor(2) as pool:
        taken, wanted = pool.submit(newest.take, WAIT_S), pool.submit(newest.wait_wanted, WAIT_S)
        wanted.result(WAIT_S)
        newest.close()
        assert taken.result(WAIT_S) is None
    assert not newest.wait_wanted(WAIT_S)
