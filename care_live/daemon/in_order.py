"""Results of several workers, passed on one at a time and in the order in which their jobs were taken."""

from __future__ import annotations

import threading
from collections.abc import Callable


class InOrder:
    """Passes on what has a number in the order of the numbers, in whichever worker's thread fills the gap.

    No worker waits here for another one: each must be free to take what a lost one had. How far they run ahead is
    limited where they take jobs, see `Worklist.next`.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: dict[int, Callable[[], None]] = {}
        self.n_passed_on = 0
        """Results without a gap before them, so far."""

    def put(self, number: int | None, pass_on: Callable[[], None]) -> None:
        """Pass on a result, and those that waited for it; keep it where an earlier one is missing.

        Parameters
        ----------
        number : None: it has no place in the order, and is passed on at once
        """
        with self._guard:
            if number is None:
                pass_on()
                return
            self._waiting[number] = pass_on
            while (ready := self._waiting.pop(self.n_passed_on, None)) is not None:
                self.n_passed_on += 1
                ready()
