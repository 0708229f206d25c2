"""Results of several workers, passed on one at a time and in the order in which their jobs were taken."""

from __future__ import annotations

import threading
from collections.abc import Callable


class InOrder:
    """Passes on what has a number in the order of the numbers, in whichever worker's thread fills the gap.

    Parameters
    ----------
    n_ahead : results that may wait for an earlier one; with more than that their workers wait, too
    """

    def __init__(self, n_ahead: int) -> None:
        self._n_ahead = n_ahead
        self._changed = threading.Condition()
        self._waiting: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._closed = False

    def put(self, number: int | None, pass_on: Callable[[], None]) -> None:
        """Pass on a result once all before it are passed on, or at once where it has no number."""
        with self._changed:
            if number is None:
                pass_on()
                return
            self._waiting[number] = pass_on
            while (ready := self._waiting.pop(self._next, None)) is not None:
                self._next += 1
                self._changed.notify_all()
                ready()
            self._changed.wait_for(lambda: self._closed or number < self._next + self._n_ahead)

    def close(self) -> None:
        """Hold up no thread any more: a stage has failed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
