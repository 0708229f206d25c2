"""Who begins when a run is over; the clock is a number here."""

from __future__ import annotations

from care_live.source.tap_line import TapLine


def test_the_oldest_begins_and_one_that_is_silent_keeps_none_waiting() -> None:
    now_s = 0.0
    line = TapLine(lambda: now_s)
    assert line.may_begin("new") and line.first() is None
    line.note("old", b"1", 0)
    line.note("later", b"2", 3)
    assert line.may_begin("old") and not line.may_begin("later") and not line.may_begin("new")
    assert (len(line), line.first()) == (2, (b"1", 0))
    now_s = 4.0
    line.note("later", b"2", 3)
    now_s = 6.0
    assert line.may_begin("later") and not line.may_begin("old")
    assert (len(line), line.first()) == (1, (b"2", 3))
    line.note("old", b"9", 1)
    assert line.first() == (b"9", 1), "it keeps its place, and has connected anew"
    line.leave("old")
    assert line.first() == (b"2", 3)


def test_a_pause_between_two_runs_is_no_silence_of_those_who_wait() -> None:
    now_s = 0.0
    line = TapLine(lambda: now_s)
    line.note("ended", b"0", 0)
    now_s = 10.0
    line.note("old", b"1", 0)
    line.note("later", b"2", 0)
    now_s = 600.0  # the daemon restores what the run before has left
    assert line.may_begin("later")
    line.listen_again()
    assert line.may_begin("old") and not line.may_begin("later")
    assert (len(line), line.first()) == (2, (b"1", 0))


def test_taps_that_ended_in_line_leave_their_places_to_others() -> None:
    now_s = 0.0
    line = TapLine(lambda: now_s)
    for number in range(1000):
        line.note(f"tap {number}", b"1", 0)
    n_at_most = len(line)
    assert n_at_most < 1000
    now_s = 60.0
    line.note("new", b"2", 0)
    assert (len(line), line.first()) == (1, (b"2", 0))
