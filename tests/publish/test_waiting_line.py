"""Connections without a place wait for their turn; the clock is a number here."""

from __future__ import annotations

import pytest

from care_live.publish import waiting_line
from care_live.publish.waiting_line import LAPSE_S, WaitingLine


@pytest.fixture
def line() -> WaitingLine:
    line = WaitingLine()
    for second, peer in enumerate((b"a", b"b", b"c")):
        line.wait(peer, "other" if peer == b"b" else "key", float(second))
    return line


def test_those_of_the_same_key_that_came_before_are_ahead(line: WaitingLine) -> None:
    assert [line.n_ahead(peer, "key", 2.0) for peer in (b"a", b"c", b"new")] == [0, 1, 2]


def test_a_repeated_request_keeps_its_turn(line: WaitingLine) -> None:
    line.wait(b"a", "key", LAPSE_S + 0.5)
    assert line.n_ahead(b"c", "key", LAPSE_S + 1.0) == 1


def test_one_that_is_silent_or_has_found_a_place_is_ahead_of_none(line: WaitingLine) -> None:
    assert line.n_ahead(b"new", "key", LAPSE_S + 1.0) == 1, "a has lapsed, c has not"
    line.leave(b"c")
    assert line.n_ahead(b"new", "key", LAPSE_S + 1.0) == 0


def test_a_full_line_takes_nothing_but_what_waits_in_it(line: WaitingLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_line, "MAX_IN_LINE", 3)
    line.wait(b"d", "key", 3.0)
    assert line.n_ahead(b"new", "key", 3.0) == 2
    line.wait(b"d", "key", LAPSE_S + 1.5)
    assert line.n_ahead(b"new", "key", LAPSE_S + 1.5) == 2, "a and b have lapsed: c and d wait"
