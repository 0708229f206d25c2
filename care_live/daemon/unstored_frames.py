"""Which frames are not on the disk yet: a source that keeps them until then may forget the others."""

from __future__ import annotations

import threading

from care_live.images import VolumeKey


class UnstoredFrames:
    """The first frame of each volume that has begun and is not stored. Safe from any thread.

    Frames are counted as they arrive. One that has no place in a volume needs no storage.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first_of: dict[VolumeKey, int] = {}
        self._n_arrived = 0

    def arrive(self, arrival: int, opened: VolumeKey | None = None) -> None:
        """Note a frame, and the volume that begins with it."""
        with self._lock:
            self._n_arrived = arrival + 1
            if opened is not None:
                self._first_of.setdefault(opened, arrival)

    def settle(self, key: VolumeKey) -> None:
        """Note that a volume is stored, or needs no storage."""
        with self._lock:
            self._first_of.pop(key, None)

    def __len__(self) -> int:
        return len(self._first_of)

    @property
    def begin(self) -> int:
        """The oldest frame that is not safe; all before it are."""
        with self._lock:
            return next(iter(self._first_of.values()), self._n_arrived)
