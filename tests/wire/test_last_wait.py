"""How long a tap waits for the daemon: the clock is a number here."""

from __future__ import annotations

from care_live.wire.last_wait import IDLE_S, IN_LINE_S, LastWait


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_before_the_run_is_over_nothing_is_overdue() -> None:
    wait = LastWait(Clock())
    wait.note_progress()
    assert wait.overdue_s == float("-inf")


def test_progress_puts_the_end_off() -> None:
    clock = Clock()
    wait = LastWait(clock)
    wait.begin(None)
    clock.now_s = IDLE_S - 1
    wait.note_progress()
    clock.now_s = 2 * IDLE_S - 2
    assert wait.overdue_s == -1
    clock.now_s = 2 * IDLE_S
    assert wait.overdue_s == 1


def test_no_progress_puts_off_a_limit() -> None:
    clock = Clock()
    wait = LastWait(clock)
    wait.begin(5.0)
    clock.now_s = 4.0
    wait.note_progress()
    clock.now_s = 7.0
    assert wait.overdue_s == 2.0


def test_a_second_call_leaves_the_earlier_deadline() -> None:
    clock = Clock()
    wait = LastWait(clock)
    wait.begin(5.0)
    wait.begin(50.0)
    clock.now_s = 6.0
    assert wait.overdue_s == 1.0


def test_in_line_behind_another_acquisition_it_waits_longer_until_its_turn_comes() -> None:
    clock = Clock()
    wait = LastWait(clock)
    wait.note_in_line()
    wait.begin(None)
    assert wait.overdue_s == -IN_LINE_S
    wait.note_progress()
    assert wait.overdue_s == -IDLE_S
