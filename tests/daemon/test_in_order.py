"""Results of several workers leave in the order in which their jobs were taken."""

from __future__ import annotations

import pytest

from care_live.daemon.in_order import InOrder


def test_results_wait_for_those_before_them():
    passed: list[int] = []
    in_order, n_passed_on = InOrder(), []
    for number in (1, 2, 0, 4, 3):
        in_order.put(number, lambda number=number: passed.append(number))
        n_passed_on.append(in_order.n_passed_on)
    assert passed == [0, 1, 2, 3, 4]
    assert n_passed_on == [0, 0, 3, 3, 5]


def test_what_has_no_number_waits_for_nothing():
    passed: list[str] = []
    in_order = InOrder()
    in_order.put(1, lambda: passed.append("second"))
    in_order.put(None, lambda: passed.append("late"))
    assert passed == ["late"]


def test_an_error_reaches_the_worker_that_passes_on():
    def fail() -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        InOrder().put(0, fail)
