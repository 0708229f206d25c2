"""A bar is shown on a terminal and in a notebook, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from care_live.offline.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *, shown: bool = True) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with ProgressBar(3, shown=shown) as bar:
        for _ in range(3):
            bar.step()
    return stream.getvalue()


def test_a_terminal_shows_how_many_are_done_and_is_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = said(monkeypatch, Terminal())
    assert "restoring" in text and "3/3" in text
    assert text.rstrip().endswith("\x1b[2K") or "\x1b[1A" in text, "the bar is taken away at its end"


def test_a_log_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, io.StringIO()) == ""


def test_a_bar_that_is_not_wanted_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, Terminal(), shown=False) == ""


def test_an_error_ends_the_bar_and_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ValueError, match="of the work"), ProgressBar(2):
        raise ValueError("of the work")
