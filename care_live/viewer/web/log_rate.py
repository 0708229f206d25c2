"""Log lines that a client causes, limited in number and time: a flood of requests must not fill a disk."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

MAX_LINES, WINDOW_S = 20, 10.0
_LOGGERS = ("asyncio", "uvicorn.error", "care_live.viewer.web.gateway")


class LogRate(logging.Filter):
    """Passes a number of lines in a number of seconds; the next line has the number of those left out."""

    def __init__(
        self, n_lines: int = MAX_LINES, window_s: float = WINDOW_S, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._n_lines, self._window_s, self._clock_s = n_lines, window_s, clock_s
        self._began_s, self._n_written, self._n_left_out = clock_s(), 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        now_s = self._clock_s()
        if now_s - self._began_s >= self._window_s:
            self._began_s, self._n_written = now_s, 0
        if self._n_written >= self._n_lines:
            self._n_left_out += 1
            return False
        self._n_written += 1
        if self._n_left_out:
            record.msg, record.args = f"{record.getMessage()} (and {self._n_left_out} lines that were left out)", ()
            self._n_left_out = 0
        return True


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Limit what clients of the page's server can write into the log."""
    filters = {name: LogRate() for name in _LOGGERS}
    for name, limit in filters.items():
        logging.getLogger(name).addFilter(limit)
    try:
        yield
    finally:
        for name, limit in filters.items():
            logging.getLogger(name).removeFilter(limit)
