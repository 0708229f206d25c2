"""Memory that two processes share; it is free again when the last array in it is deleted.

A segment is anonymous where the system allows it (Linux, Windows), so that nothing stays behind when a process is
killed. It is reserved at once: where the system has promised too much memory, it ends a process later, with no error to
catch.
"""

from __future__ import annotations

import itertools
import mmap
import os
import sys
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from numpy.typing import DTypeLike, NDArray

from care_live.errors import OutOfMemoryError

_ALIGNMENT = 64
_MOST_SEGMENTS = 48
"""Each costs its owner two open files and the other process one; systems allow 256 to 1024 for everything."""


@dataclass(frozen=True, slots=True)
class SegmentName:
    """What another process needs to open a segment."""

    serial: int
    """Unique for the life of the owner."""
    path: str
    n_bytes: int


@dataclass(frozen=True, slots=True)
class ArrayAddress:
    """An array inside a segment, described for another process."""

    segment: SegmentName
    offset: int
    shape: tuple[int, ...]
    dtype: str


class Segment:
    """Shared memory of this process; freed when the object and all arrays over it are deleted.

    Raises
    ------
    OutOfMemoryError
        The system has less memory to share.
    """

    _serials = itertools.count()

    def __init__(self, n_bytes: int) -> None:
        serial = next(self._serials)
        available = psutil.virtual_memory().available
        if n_bytes > available:  # Linux would end a process rather than refuse
            raise OutOfMemoryError(f"no {n_bytes} bytes of memory to share with inference: {available} are available")
        try:
            self.memory, path = _create(n_bytes, serial)
        except OSError as error:
            raise OutOfMemoryError(f"no {n_bytes} bytes of memory to share with inference: {error}") from error
        self.name = SegmentName(serial, path, n_bytes)


class Lease:
    """A segment in use: it returns to its pool when the lease and all its arrays are deleted."""

    def __init__(self, segment: Segment, free: deque[Segment]) -> None:
        self.name = segment.name
        self._bytes: NDArray[np.uint8] = np.frombuffer(segment.memory, np.uint8)
        back = weakref.finalize(self._bytes, free.append, segment)
        back.atexit = False
        self._used = 0

    def array(self, shape: Sequence[int], dtype: DTypeLike) -> tuple[NDArray[Any], ArrayAddress]:
        """Return the next free part as an array, and what to tell the other process."""
        place = ArrayAddress(self.name, self._used, tuple(shape), np.dtype(dtype).str)
        self._used += aligned_bytes(shape, dtype)
        return at(self._bytes, place), place


class Pool:
    """Segments that are used again: fresh memory costs a page fault for every 4 KiB.

    Parameters
    ----------
    keep : unused segments that are kept for later
    """

    def __init__(self, keep: int = 4) -> None:
        self._keep = keep
        self._free: deque[Segment] = deque()
        self._known: weakref.WeakSet[Segment] = weakref.WeakSet()
        self._taking = threading.Lock()

    def take(self, n_bytes: int) -> Lease:
        """Return a segment of at least `n_bytes`, and less than twice as many."""
        with self._taking:
            return Lease(self._segment(n_bytes), self._free)

    @property
    def is_crowded(self) -> bool:
        """Whether what is kept for long should move elsewhere, lest the process run out of open files."""
        return len(self._known) > _MOST_SEGMENTS

    def alive(self) -> frozenset[int]:
        """Return the serials that the other process may keep looking at."""
        with self._taking:  # the intake takes new ones while the restoring stage asks
            return frozenset(segment.name.serial for segment in self._known)

    def _segment(self, n_bytes: int) -> Segment:
        fitting = [segment for segment in list(self._free) if n_bytes <= segment.name.n_bytes < 2 * n_bytes]
        if fitting:
            segment = min(fitting, key=lambda candidate: candidate.name.n_bytes)
            self._free.remove(segment)
        else:
            segment = Segment(n_bytes)
            self._known.add(segment)
        while len(self._free) > self._keep:
            self._free.popleft()
        return segment


class SegmentView:
    """The other process's view of segments; drops those that are deleted.

    Parameters
    ----------
    prepare : called once with each segment's bytes, which stay in use for many volumes
    """

    def __init__(self, prepare: Callable[[NDArray[np.uint8]], None] = lambda memory: None) -> None:
        self._seen: dict[int, NDArray[np.uint8]] = {}
        self._prepare = prepare

    def array(self, place: ArrayAddress) -> NDArray[Any]:
        """Return the array at a place."""
        name = place.segment
        if name.serial not in self._seen:
            self._seen[name.serial] = np.frombuffer(_attach(name), np.uint8)
            self._prepare(self._seen[name.serial])
        return at(self._seen[name.serial], place)

    def keep_only(self, serials: Collection[int]) -> None:
        """Close all other segments."""
        self._seen = {serial: seen for serial, seen in self._seen.items() if serial in serials}


def aligned_bytes(shape: Sequence[int], dtype: DTypeLike) -> int:
    """Return the bytes that an array takes in a segment, aligned for vector instructions."""
    n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return -(-n_bytes // _ALIGNMENT) * _ALIGNMENT


def at(memory: NDArray[np.uint8], place: ArrayAddress) -> NDArray[Any]:
    """Return the array that a place describes."""
    n_bytes = int(np.prod(place.shape, dtype=np.int64)) * np.dtype(place.dtype).itemsize
    return memory[place.offset : place.offset + n_bytes].view(place.dtype).reshape(place.shape)


def _create(n_bytes: int, serial: int) -> tuple[mmap.mmap, str]:
    if sys.platform == "win32":
        tag = f"care-live-{os.getpid()}-{serial}"
        return mmap.mmap(-1, n_bytes, tagname=tag), tag
    else:  # or a type checker for Windows would find it unreachable
        handle, path = _open_new()
        try:
            _reserve(handle, n_bytes)
            memory = mmap.mmap(handle, n_bytes)
        except OSError:
            _discard(handle, path)
            raise
        weakref.finalize(memory, _discard, handle, path)
        return memory, path


def _open_new() -> tuple[int, str]:
    """Return a new file and its path, on systems where a segment is a file."""
    if sys.platform == "linux":
        try:
            handle = os.memfd_create("care-live")
        except (OSError, AttributeError):  # forbidden, or this Python was built for an older system
            handle = os.open("/dev/shm", os.O_RDWR | os.O_TMPFILE, 0o600)  # without a name, too
        return handle, f"/proc/{os.getpid()}/fd/{handle}"
    else:
        return tempfile.mkstemp(prefix="care-live-")


def _reserve(handle: int, n_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, n_bytes)
    else:
        os.ftruncate(handle, n_bytes)


def _discard(handle: int, path: str) -> None:
    os.close(handle)
    if not path.startswith("/proc/"):
        os.unlink(path)  # noqa: PTH108 - pathlib may be gone when the interpreter ends


def _attach(name: SegmentName) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, name.n_bytes, tagname=name.path)
    else:
        handle = os.open(name.path, os.O_RDWR)
        try:
            return mmap.mmap(handle, name.n_bytes)
        finally:
            os.close(handle)
