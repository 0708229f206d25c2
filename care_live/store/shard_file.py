"""One shard of a Zarr array, written whole, as zarr-python would write it but with fewer copies of each byte.

Chunks are packed by Blosc in several threads and appended. The end of a shard is its index: an offset and a length of
each chunk (two little-endian uint64) and a CRC32C of these; see *Sharding codec* in the specification of Zarr 3.
zarr-python puts the chunks together in memory first.
"""

from __future__ import annotations

import importlib
import itertools
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.checksum import crc32c

_ABSENT = 2**64 - 1
"""Offset and length of a chunk that a shard lacks."""
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
_MOST_THREADS = 4
_HEADER_BYTES = 16
"""Of a Blosc chunk."""
_Corner: TypeAlias = tuple[int, int, int]
_Parts: TypeAlias = tuple[bytes | memoryview, ...]


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """How a shard is cut into chunks, and how each is packed."""

    chunk: tuple[int, int, int]
    """(z, y, x) of one chunk."""
    n_chunks: tuple[int, int, int]
    """Along z, y, x."""
    cname: str
    clevel: int
    shuffle: str
    typesize: int
    blocksize: int
    has_checksums: bool
    """Whether a CRC32C follows each chunk."""

    def pack(self, planes: NDArray[Any], corner: _Corner, buffer: NDArray[Any]) -> _Parts:
        """Return a chunk as it lies in the shard, in parts; what reaches beyond the planes is zero.

        Parameters
        ----------
        buffer : of a chunk's shape, for its pixels; in use as long as the parts are
        """
        part = planes[tuple(slice(at, at + size) for at, size in zip(corner, self.chunk, strict=True))]
        if part.shape != buffer.shape:
            buffer[:] = 0
        buffer[tuple(map(slice, part.shape))] = part
        if self.clevel == 0:
            return _stored_header(self, buffer.dtype.name), buffer.data.cast("B")
        return (self.compressed(buffer),)

    def compressed(self, chunk: NDArray[Any]) -> bytes:
        blosc = importlib.import_module("numcodecs.blosc")  # zarr's; it has been imported
        shuffle = _SHUFFLES[self.shuffle]
        packed: bytes = blosc.compress(chunk, self.cname.encode(), self.clevel, shuffle, self.blocksize, self.typesize)
        return packed

    def corners(self, depth: int) -> Iterator[tuple[int, _Corner]]:
        """Give the number of each chunk that has planes, and where it begins."""
        every = itertools.product(*map(range, self.n_chunks))
        for number, (z, y, x) in enumerate(every):
            if z * self.chunk[0] < depth:
                yield number, (z * self.chunk[0], y * self.chunk[1], x * self.chunk[2])


@lru_cache
def _stored_header(layout: ShardLayout, dtype: str) -> bytes:
    """Return how Blosc begins each chunk of this layout at level 0; the bytes follow as they are."""
    return layout.compressed(np.zeros(layout.chunk, dtype))[:_HEADER_BYTES]


def write_shard(file: BinaryIO, planes: NDArray[Any], layout: ShardLayout) -> None:
    """Write a shard into an empty file.

    Parameters
    ----------
    planes : (z, y, x), at most as deep as the shard

    Raises
    ------
    OSError
        The disk is full, gone or broken.
    """
    index = np.full((math.prod(layout.n_chunks), 2), _ABSENT, "<u8")
    offset = 0
    for number, packed in _packed(planes, layout):
        parts = (*packed, _checksum(*packed)) if layout.has_checksums else packed
        index[number] = offset, sum(map(len, parts))
        offset += sum(_write(file, one) for one in parts)
    _write(file, index.tobytes())
    _write(file, _checksum(index.tobytes()))


def refuse_wild_chunks(shard: bytes, n_chunks: int) -> None:
    """Raise a ValueError where a chunk has a wrong length in its header: Blosc would read as far, and crash."""
    index = np.frombuffer(shard[-16 * n_chunks - 4 : -4], "<u8").reshape(n_chunks, 2)
    for offset, n_bytes in index.tolist():
        if int.from_bytes(shard[offset + 12 : offset + 16], "little") > n_bytes:
            raise ValueError(f"the chunk at byte {offset} of a shard is damaged")


def _packed(planes: NDArray[Any], layout: ShardLayout) -> Iterator[tuple[int, _Parts]]:
    """Give each chunk, packed by several threads; only a few are in memory, and it is used again for the next ones."""
    places = list(layout.corners(len(planes)))
    n_threads = min(_MOST_THREADS, os.cpu_count() or 1, len(places))
    pack, n_buffers = partial(layout.pack, planes), min(len(places), 2 * n_threads)
    buffers = [np.empty(layout.chunk, planes.dtype) for _ in range(n_buffers)]
    if n_threads == 1:
        yield from ((number, pack(corner, buffers[0])) for number, corner in places)
        return
    with ThreadPoolExecutor(n_threads, "pack a shard") as threads:
        for first in range(0, len(places), n_buffers):
            some = places[first : first + n_buffers]
            packed = threads.map(pack, (corner for _, corner in some), buffers)
            yield from zip((number for number, _ in some), packed, strict=True)


def _checksum(*parts: bytes | memoryview) -> bytes:
    value = 0
    for part in parts:
        value = crc32c(part, value)
    return value.to_bytes(4, "little")


def _write(file: BinaryIO, data: bytes | memoryview) -> int:
    """Write all of it, also where the system takes a part of it at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    return len(data)
