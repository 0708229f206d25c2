"""Memory of volumes, used again for the next ones.

The system fills each new page with zeros, which costs more than the copy of a plane into it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Bytes: TypeAlias = NDArray[np.uint8]


class VolumeMemory:
    """Gives memory for volumes, and takes it back once no array refers to it any more.

    Parameters
    ----------
    idle_bytes : how much of it may wait for the next volume
    """

    def __init__(self, idle_bytes: int) -> None:
        self._most_bytes = idle_bytes
        self._idle: deque[_Bytes] = deque()
        """Of one size: the volumes of a run rarely differ."""

    @property
    def idle_bytes(self) -> int:
        """How much waits for the next volume."""
        return sum(one.nbytes for one in list(self._idle))

    def take(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Return an array with any content."""
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        lease: Any = _Lease(self._of_size(n_bytes), self._give_back)
        pixels: NDArray[Any] = np.asarray(lease).view(dtype).reshape(shape)
        return pixels

    def _of_size(self, n_bytes: int) -> _Bytes:
        """Return memory that waits; those of another size are given to the system."""
        while self._idle:
            try:
                found = self._idle.popleft()
            except IndexError:  # another thread was faster
                break
            if found.nbytes == n_bytes:
                return found
        return np.empty(n_bytes, np.uint8)

    def _give_back(self, memory: _Bytes) -> None:
        """Keep memory for the next volume; called in the thread that drops the last array, so without a lock."""
        if self.idle_bytes + memory.nbytes <= self._most_bytes:
            self._idle.append(memory)


class _Lease:
    """What arrays over lent memory refer to: it ends with the last of them."""

    def __init__(self, memory: _Bytes, give_back: Callable[[_Bytes], None]) -> None:
        self._memory, self._give_back = memory, give_back
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self._give_back(self._memory)
