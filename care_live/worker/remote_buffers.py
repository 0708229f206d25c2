"""One time point at a remote worker's end of the link: memory that it shares with its process, filled by messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from care_live.checksum import crc32c
from care_live.errors import ProtocolError
from care_live.maps import Head
from care_live.restore.in_flight import PlaneProgress
from care_live.worker import protocol
from care_live.worker.remote_protocol import planes_in, runs
from care_live.worker.shared_memory import Pool, aligned_bytes

_Named = TypeVar("_Named", protocol.Begin, protocol.Work)

MapRun = tuple[Head, int, int, NDArray[Any]]
"""Head, output, z of the first plane, and the planes."""


class RemoteBuffers:
    """Shared memory of the size that an order of the daemon names.

    Parameters
    ----------
    pool : of this machine
    asked : names the daemon's memory

    Raises
    ------
    OutOfMemoryError
        This machine has less memory to share.
    """

    def __init__(self, pool: Pool, asked: protocol.Begin | protocol.Work) -> None:
        places = [*asked.pixels, *asked.results.values()]
        lease = pool.take(
            sum(aligned_bytes(place.shape, place.dtype) for place in places) + aligned_bytes((2,), np.int64)
        )
        pixels = [lease.array(place.shape, place.dtype) for place in asked.pixels]
        maps = {head: lease.array(place.shape, place.dtype) for head, place in asked.results.items()}
        counts, self._progress_place = lease.array((2,), np.int64)
        counts[:] = 0
        self.progress = PlaneProgress(counts)
        self._pixels, self._places = [array for array, _ in pixels], tuple(place for _, place in pixels)
        self._maps = {head: array for head, (array, _) in maps.items()}
        self._results = {head: place for head, (_, place) in maps.items()}
        self._placed: set[tuple[int, int]] = set()
        self._n_planes = sum(len(array) for array in self._pixels)
        self._sent: dict[tuple[Head, int, int], int] = {}
        """CRC32C of each plane of a result that was sent: the last step may mend it once more."""
        self.n_reported = (0, 0)
        """Planes taken and planes restored that the last beat has reported."""

    def in_here(self, asked: _Named) -> _Named:
        """Return an order that names this memory."""
        here: dict[str, Any] = {"pixels": self._places, "results": self._results}
        return replace(
            asked, **here, **({"progress": self._progress_place} if isinstance(asked, protocol.Begin) else {})
        )

    @property
    def is_full(self) -> bool:
        """Whether all planes have come."""
        return len(self._placed) == self._n_planes

    def place(self, channel: int, z: int, part: memoryview) -> None:
        """Take planes.

        Raises
        ------
        ProtocolError
            There is no such place.
        """
        planes = planes_in(part, self._pixels[channel]) if channel < len(self._pixels) else None
        if planes is None or z + len(planes) > len(self._pixels[channel]):
            raise ProtocolError(f"{len(part)} bytes came as planes of channel {channel} from z={z} on")
        self._pixels[channel][z : z + len(planes)] = planes
        self._placed.update((channel, z + i) for i in range(len(planes)))

    def restored(self, heads: Sequence[Head]) -> Iterator[MapRun]:
        """Yield what has become final since the last call, while the volume is recorded.

        Parameters
        ----------
        heads : maps that the network gives plane by plane
        """
        n_taken, n_restored = self.progress.n_taken, self.progress.n_restored
        new, self.n_reported = range(self.n_reported[1], n_restored), (n_taken, n_restored)
        for head in [head for head in heads if new and head in self._maps]:
            for c in range(len(self._maps[head])):
                yield from self._noted(head, c, new)

    def rest(self, done: protocol.Done) -> Iterator[MapRun]:
        """Yield what was not sent as it is now."""
        for c, heads in enumerate(done.maps):
            for head in heads:
                array = self._maps[head][c]
                changed = [z for z in range(len(array)) if self._sent.get((head, c, z)) != crc32c(array[z])]
                if len(changed) == len(array):
                    yield from ((head, c, z, planes) for z, planes in runs(array, range(len(array))))
                else:
                    yield from ((head, c, z, array[z : z + 1]) for z in changed)

    def _noted(self, head: Head, c: int, planes: range) -> Iterator[MapRun]:
        array = self._maps[head][c]
        for z in planes:
            self._sent[head, c, z] = crc32c(array[z])
        yield from ((head, c, z, part) for z, part in runs(array, planes))
