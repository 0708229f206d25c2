"""The bounded queue before a stage: full means that the sender waits, closed means that the rest drains."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - no error: the end of the flow
    """The inbox is closed and empty: the flow has ended."""


class Inbox(Generic[T]):
    """A queue bounded in bytes that blocks its sender when full; nothing is ever dropped here.

    One item may pass the bound when the queue is empty, so that a volume larger than the bound still flows.

    Parameters
    ----------
    name : what the queue is before, for errors and status
    limit_bytes : how many bytes may wait
    """

    def __init__(self, name: str, limit_bytes: int) -> None:
        self.name = name
        self._limit_bytes = limit_bytes
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T, nbytes: int = 0) -> None:
        """Append an item; waits while the queue is full. After `close` the item is refused.

        Raises
        ------
        Closed
            The stage behind this queue has ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._items or self._bytes + nbytes <= self._limit_bytes)
            if self._closed:
                raise Closed(self.name)
            self._items.append((item, nbytes))
            self._bytes += nbytes
            self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> T | None:
        """Return the oldest item, or None when none came within the time.

        Raises
        ------
        Closed
            No item is left and none will come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            if self._items:
                item, nbytes = self._items.popleft()
                self._bytes -= nbytes
                self._changed.notify_all()
                return item
            if self._closed:
                raise Closed(self.name)
            return None

    def close(self) -> None:
        """Let nothing more in; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def waiting(self) -> tuple[int, int]:
        """Items and bytes that wait."""
        with self._changed:
            return len(self._items), self._bytes
