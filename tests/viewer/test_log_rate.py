"""A flood of log lines is cut, and the next line says by how much."""

from __future__ import annotations

import logging

from care_live.viewer.web.log_rate import LogRate


def line(text: str) -> logging.LogRecord:
    return logging.LogRecord("web", logging.WARNING, "file", 1, "refused %s", (text,), None)


def test_a_number_of_lines_in_a_time_and_the_rest_is_counted() -> None:
    now_s = [0.0]
    limit = LogRate(2, 10.0, clock_s=lambda: now_s[0])
    assert [limit.filter(line(str(i))) for i in range(5)] == [True, True, False, False, False]
    now_s[0] = 10.0
    after = line("later")
    assert limit.filter(after)
    assert after.getMessage() == "refused later (and 3 lines that were left out)"
    again = line("again")
    assert limit.filter(again)
    assert again.getMessage() == "refused again"
