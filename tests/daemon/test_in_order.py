"""Results of several workers leave in the order in which their jobs were taken."""

from __future__ import annotations

import threading

import pytest

from care_live.daemon.in_order import InOrder

WAIT_S = 60.0


def test_results_wait_for_those_before_them():
    passed: list[int] = []
    in_order = InOrder(4)
    for number in (1, 2, 0, 4, 3):
        in_order.put(number, lambda number=number: passed.append(number))
    assert passed == [0, 1, 2, 3, 4]


def test_what_has_no_number_waits_for_nothing():
    passed: list[str] = []
    in_order = InOrder(4)
    in_order.put(1, lambda: passed.append("second"))
    in_order.put(None, lambda: passed.append("late"))
    assert passed == ["late"]


def test_a_worker_that_is_far_ahead_waits():
    in_order, entered, left = InOrder(2), threading.Event(), threading.Event()

    def ahead() -> None:
        in_order.put(1, entered.set)
        in_order.put(2, lambda: None)
        left.set()

    thread = threading.Thread(target=ahead)
    thread.start()
    assert not left.wait(0.1)
    in_order.put(0, lambda: None)
    assert left.wait(WAIT_S) and entered.is_set()
    thread.join(WAIT_S)


def test_a_stage_that_failed_holds_up_no_worker():
    in_order = InOrder(1)
    thread = threading.Thread(target=in_order.put, args=(3, lambda: None))
    thread.start()
    in_order.close()
    thread.join(WAIT_S)
    assert not thread.is_alive()


def test_an_error_reaches_the_worker_that_passes_on():
    def fail() -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        InOrder(2).put(0, fail)
