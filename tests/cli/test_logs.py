"""The lines of the log."""

from __future__ import annotations

import logging

import pytest

from care_live.cli import logs


def test_what_a_daemon_says_cannot_write_log_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(1)
    logging.getLogger("care_live.test").warning("recording gap why=%s", "broken\n2026 ERROR forged\x1b[2J")
    written = capsys.readouterr().err
    assert written.count("\n") == 1 and "\x1b" not in written and "forged" in written
