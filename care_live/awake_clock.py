"""A clock for silences: time in which this process itself stood still is no silence of the other side."""

from __future__ import annotations

import time
from collections.abc import Callable

_LONGEST_NS = 1_000_000_000
"""Every wait looks more often than this; during a longer pause between two looks the process did not wait."""


class AwakeClock:
    """Monotonic nanoseconds, of which a pause between two readings counts as a second at most; for one thread.

    A process that is stopped (Ctrl-Z, a debugger, a virtual machine that is paused, a computer that sleeps) reads
    nothing meanwhile. What came until then lies unread when it goes on, so no deadline may have passed before it is
    read.

    Parameters
    ----------
    clock_ns : monotonic nanoseconds; None: the system's
    """

    def __init__(self, clock_ns: Callable[[], int] | None = None) -> None:
        self._clock_ns = clock_ns or time.monotonic_ns
        self._read_ns = self._clock_ns()
        self._awake_ns = 0

    def __call__(self) -> int:
        """Return the time so far; only differences count."""
        now_ns = self._clock_ns()
        self._awake_ns += min(now_ns - self._read_ns, _LONGEST_NS)
        self._read_ns = now_ns
        return self._awake_ns
