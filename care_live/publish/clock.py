"""The age of a volume from another machine, by clocks that never jump: a person may set a machine's time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from care_live.wire.messages import VolumeMessage


class SessionClock:
    """The time of day when a session began, run on by the monotonic clock: it does not follow a clock that is set.

    Parameters
    ----------
    wall_ns : nanoseconds since the epoch; read once
    monotonic_ns : never set back
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._offset_ns = wall_ns() - monotonic_ns()

    def now_us(self) -> int:
        """Return microseconds since the epoch."""
        return (self._monotonic_ns() + self._offset_ns) // 1000


class Clock:
    """The daemon's clock as seen from here: the smallest difference of the last heartbeats.

    Parameters
    ----------
    now_us : monotonic, microseconds; only differences count
    """

    def __init__(self, now_us: Callable[[], int] = lambda: time.monotonic_ns() // 1000) -> None:
        self._now_us = now_us
        self._differences: deque[int] = deque(maxlen=8)
        self._session = ""

    def note(self, daemon_us: int, session: str) -> None:
        """Take a heartbeat; the clocks of two sessions are independent."""
        if session != self._session:
            self._session = session
            self._differences.clear()
        self._differences.append(self._now_us() - daemon_us)

    def age_s(self, message: VolumeMessage) -> float:
        """Return how old a volume is that came just now: until it was published, and on its way."""
        if not self._differences or message.session != self._session:
            return message.age_us / 1e6
        on_its_way_us = self._now_us() - min(self._differences) - message.published_us
        return (message.age_us + max(0, on_its_way_us)) / 1e6
