"""How long a tap whose run is over waits for the daemon to take and store the last frames."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

IDLE_S = 60.0
"""A daemon that takes nothing, and stores nothing, for as long counts as lost: a slow disk may hold it up, and one that
has never answered may be starting."""

IN_LINE_S = 600.0
"""The same, of a daemon that records another acquisition first: what that one left may be restored in between."""


class LastWait:
    """Ends a while after the last progress, not after the run: a slow link, or disk, needs its time for what waits.

    Parameters
    ----------
    clock_s : monotonic seconds
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._limit_s = self._idle_until_s = math.inf
        self._idle_s = IDLE_S

    def begin(self, within_s: float | None) -> None:
        """Note that the run is over; an earlier deadline stays.

        Parameters
        ----------
        within_s : a limit that no progress puts off; None: as long as the daemon makes progress
        """
        if within_s is not None:
            self._limit_s = min(self._limit_s, self._clock_s() + within_s)
        self._idle_until_s = min(self._idle_until_s, self._clock_s() + self._idle_s)

    def note_progress(self) -> None:
        """Put the end off: the daemon took or stored something."""
        self._put_off(IDLE_S)

    def note_in_line(self) -> None:
        """Put the end off for longer: the daemon records another acquisition first."""
        self._put_off(IN_LINE_S)

    def _put_off(self, idle_s: float) -> None:
        self._idle_s = idle_s
        if self._idle_until_s < math.inf:
            self._idle_until_s = self._clock_s() + idle_s

    @property
    def overdue_s(self) -> float:
        """How long ago the wait was over; negative while it is not."""
        return self._clock_s() - min(self._limit_s, self._idle_until_s)
