"""What another machine writes cannot command a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from care_live.wire.printable import printable


@drawn(st.text())
def test_nothing_is_left_that_moves_a_cursor_or_turns_the_writing(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["405 nm, 50 %", "Größe µm ±1", "細胞", "a\u0301", "[/old] [bold]"])
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text


def test_a_command_for_a_terminal_becomes_plain_characters() -> None:
    assert printable("\x1b]0;owned\x07\x1b[2Jgone") == "\ufffd]0;owned\ufffd\ufffd[2Jgone"
    assert printable("one\ntwo\tthree") == "one two three"
    assert printable("safe\u202egnp.exe") == "safe\ufffdgnp.exe"
