"""How many bytes of volumes are in flight, and whether one more fits."""

from __future__ import annotations

import threading
from collections import Counter

from care_live.images import VolumeKey


class MemoryBudget:
    """Counts a volume's bytes from its first plane until it is neither to be stored nor waits to be restored.

    `admit` is called at the first plane, before the volume's key is known here; `hold` is called for each stage that
    the closed volume waits for, and `release` once the store has it, and once the network begins with it: the one
    time point that is being restored does not count, so raw volumes never wait for a network.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._used_bytes = 0
        self._holders: Counter[VolumeKey] = Counter()
        self._lock = threading.Condition()

    def admit(self, nbytes: int) -> bool:
        """Reserve memory for a volume; return whether there was enough. One volume is always admitted."""
        with self._lock:
            if self._used_bytes and self._used_bytes + nbytes > self._limit_bytes:
                return False
            self._used_bytes += nbytes
            return True

    def give_back(self, nbytes: int) -> None:
        """Take back what was admitted for a volume that did not begin."""
        with self._lock:
            self._used_bytes -= nbytes
            self._lock.notify_all()

    def hold(self, key: VolumeKey) -> None:
        with self._lock:
            self._holders[key] += 1

    def release(self, key: VolumeKey, nbytes: int) -> None:
        """Release a volume; the last stage that held it gives its memory back."""
        with self._lock:
            self._holders[key] -= 1
            if self._holders[key] == 0:
                del self._holders[key]
                self._used_bytes -= nbytes
                self._lock.notify_all()

    def wait_for_less(self, timeout_s: float) -> bool:
        """Wait until memory is given back; return whether some was in time."""
        with self._lock:
            used_bytes = self._used_bytes
            return self._lock.wait_for(lambda: self._used_bytes < used_bytes, timeout_s)

    @property
    def used_bytes(self) -> int:
        with self._lock:
            return self._used_bytes
