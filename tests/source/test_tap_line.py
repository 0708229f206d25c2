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
