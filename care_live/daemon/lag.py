"""A disk that is too slow for the raw volumes: their loss is counted, and ends the run if it lasts."""

from __future__ import annotations

import time
from collections.abc import Callable

from care_live.errors import StoreError


class Lag:
    """Counts the raw volumes that found no memory because the disk was behind.

    Parameters
    ----------
    limit_s : how long the disk may be behind once a volume was refused
    clock_s : monotonic seconds
    """

    def __init__(self, limit_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._limit_s, self._clock_s = limit_s, clock_s
        self._since_s: float | None = None
        self._n_refused = 0

    def refused(self) -> None:
        """A raw volume found no memory."""
        self._n_refused += 1
        if self._since_s is None:
            self._since_s = self._clock_s()

    def look(self, n_behind: int) -> None:
        """Note how many records wait for the disk; when none does, it has caught up.

        Raises
        ------
        StoreError
            The disk has been behind for longer than the limit.
        """
        if not n_behind:
            self._since_s, self._n_refused = None, 0
        elif self._since_s is not None and self._clock_s() - self._since_s > self._limit_s:
            raise StoreError(
                f"the disk has been too slow for {self._limit_s:g} s: {self._n_refused} raw volumes found no memory, "
                f"{n_behind} records still wait; use a faster disk, or record less"
            )
