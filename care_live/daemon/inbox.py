"""The queue before the store, in two lanes: what must be kept never waits for what may be left out."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class InboxClosed(Exception):  # noqa: N818 - no error: the end of the flow
    """The inbox is closed and empty: the flow has ended."""


class Inbox(Generic[T]):
    """A queue whose first lane is always emptied first.

    The first lane takes raw volumes and notes and never holds its sender up: the sender has found memory for a volume
    before its first plane. The second lane takes restored volumes, is bounded in bytes, and refuses what does not
    fit in time. One item may pass the bound when that lane is empty, so that a volume larger than the bound flows.

    Parameters
    ----------
    name : what the queue is before, for errors and status
    limit_bytes : how many bytes may wait in the second lane
    """

    def __init__(self, name: str, limit_bytes: int) -> None:
        self.name = name
        self._limit_bytes = limit_bytes
        self._first: deque[T] = deque()
        self._second: deque[tuple[T, int]] = deque()
        self._second_bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Append an item to the first lane. After `close` it is refused.

        Raises
        ------
        Closed
            The stage behind this queue has ended.
        """
        with self._changed:
            if self._closed:
                raise InboxClosed(self.name)
            self._first.append(item)
            self._changed.notify_all()

    def put_second(self, item: T, nbytes: int, *, wait_s: float) -> bool:
        """Append an item to the second lane; return whether it fitted within the time.

        Raises
        ------
        Closed
            The stage behind this queue has ended.
        """
        with self._changed:
            fits = self._changed.wait_for(lambda: self._closed or self._has_space(nbytes), wait_s)
            if self._closed:
                raise InboxClosed(self.name)
            if fits:
                self._second.append((item, nbytes))
                self._second_bytes += nbytes
                self._changed.notify_all()
            return fits

    def get(self, timeout_s: float | None = None) -> T | None:
        """Return the oldest item of the first lane, else of the second, or None when none came within the time.

        Raises
        ------
        Closed
            No item is left and none will come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._first or self._second or self._closed, timeout_s)
            if self._first:
                return self._first.popleft()
            if self._second:
                item, nbytes = self._second.popleft()
                self._second_bytes -= nbytes
                self._changed.notify_all()
                return item
            if self._closed:
                raise InboxClosed(self.name)
            return None

    def close(self) -> None:
        """Accept no more items; those that wait can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def leave_out_second(self) -> list[T]:
        """Take what waits in the second lane out, and return it."""
        with self._changed:
            left_out = [item for item, _ in self._second]
            self._second.clear()
            self._second_bytes = 0
            self._changed.notify_all()
            return left_out

    @property
    def waiting(self) -> tuple[int, int]:
        """Items that wait in each lane."""
        with self._changed:
            return len(self._first), len(self._second)

    def _has_space(self, nbytes: int) -> bool:
        return not self._second or self._second_bytes + nbytes <= self._limit_bytes
