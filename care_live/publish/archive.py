"""Volumes that memory has forgotten, read back from the store in a thread of its own, one at a time."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from care_live.errors import CareLiveError
from care_live.images import Restored, Volume, VolumeKey

logger = logging.getLogger(__name__)

ReadStored: TypeAlias = Callable[[VolumeKey], Restored | Volume | None]
"""Give a volume from the store: restored, or raw only, or None where there is none."""

MAX_WAITING = 256


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a volume cannot be had."""

    reason: Literal["not-stored", "unreadable"]
    detail: str


Answer: TypeAlias = Restored | Volume | Unavailable


class Archive:
    """Reads volumes for watchers that fell far behind, so that nobody else waits for the disk.

    Parameters
    ----------
    read
        Called in the archive's thread.
    announce
        Called there when an answer is ready to be taken.
    """

    def __init__(self, read: ReadStored, announce: Callable[[], None]) -> None:
        self._read, self._announce = read, announce
        self._waiting: deque[VolumeKey] = deque()
        self._answers: dict[VolumeKey, Answer] = {}
        self._bell = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="publish-archive")
        self._thread.start()

    def ask(self, key: VolumeKey) -> None:
        """Have a volume read, unless it waits to be read or to be taken already."""
        with self._bell:
            if key not in self._answers and key not in self._waiting and len(self._waiting) < MAX_WAITING:
                self._waiting.append(key)
                self._bell.notify()

    def take(self) -> dict[VolumeKey, Answer]:
        """Return what was read since the last time."""
        with self._bell:
            answers, self._answers = self._answers, {}
            return answers

    def close(self) -> None:
        with self._bell:
            self._closed = True
            self._bell.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the thread; False when it does not end in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (key := self._next()) is not None:
            answer = self._answer(key)
            with self._bell:
                self._answers[key] = answer
                self._waiting.remove(key)
            self._announce()

    def _next(self) -> VolumeKey | None:
        with self._bell:
            self._bell.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else self._waiting[0]

    def _answer(self, key: VolumeKey) -> Answer:
        try:
            found = self._read(key)
        except (CareLiveError, OSError) as error:
            logger.warning("archive unreadable t=%d p=%d c=%d error=%s", *key, error)
            return Unavailable("unreadable", str(error)[:500])
        except Exception as error:  # the thread boundary: whoever asked is told, the others go on
            logger.exception("archive failed t=%d p=%d c=%d", *key)
            return Unavailable("unreadable", str(error)[:500])
        return Unavailable("not-stored", f"the store has no volume {tuple(key)}") if found is None else found
