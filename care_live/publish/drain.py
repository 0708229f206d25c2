"""The end of a run waits for recorders that make progress: shared by the publisher and the thread that closes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LONGEST_S = 20.0
"""How long the end waits for recorders, even if they make progress."""
LOOK_S = 0.1
"""How often the publisher checks meanwhile whether they have all."""


class Drain:
    """What the publisher's thread has sent, and whether a thread waits for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._all_before, self._n_requests = 0, 0
        self._is_over = False
        self.is_on = False
        """A thread waits."""

    def note(self, all_before: int, n_requests: int) -> None:
        """Note up to which number every recorder has all, and how many more requests came."""
        with self._changed:
            self._all_before = all_before
            self._n_requests += n_requests
            self._changed.notify_all()

    def give_up(self) -> None:
        """Nothing more will be sent."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def wait(self, end: Callable[[], int], timeout_s: float) -> bool:
        """Wait until all before `end` is sent, as long as requests come; False: none came within the time."""
        until_s = time.monotonic() + LONGEST_S
        with self._changed:
            self.is_on = True
            while not (self._is_over or self._all_before >= end()):
                n_before, left_s = self._n_requests, until_s - time.monotonic()
                if not self._changed.wait_for(lambda n=n_before: self._gets_on(end, n), min(timeout_s, left_s)):  # type: ignore[misc]
                    return False
        return True

    def _gets_on(self, end: Callable[[], int], n_before: int) -> bool:
        return self._is_over or self._all_before >= end() or self._n_requests > n_before
