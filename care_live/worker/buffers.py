"""Memory that the daemon and inference both see: the pixels of a time point, and what is restored of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from care_live.images import Restored, Volume, read_only
from care_live.maps import Head
from care_live.percentiles import Span
from care_live.restore.channel_choice import ChannelGroup
from care_live.restore.geometry import source_of
from care_live.restore.in_flight import PlaneProgress
from care_live.restore.result_maps import ResultMaps
from care_live.wire.codec import record_of
from care_live.worker import protocol
from care_live.worker.shared_memory import ArrayAddress, Pool, aligned_bytes


@dataclass(slots=True)
class SharedVolume:
    """Shared memory for one time point: pixels of every channel, and results. The arrays hold it."""

    pixels: list[NDArray[Any]]
    addresses: tuple[ArrayAddress, ...]
    maps: dict[Head, NDArray[np.float32]]
    """(c_out, z, y, x) of each."""
    heads: tuple[Head, ...]
    """Maps that the network gives, plane by plane; what else there is, is calculated of the whole volume."""
    results: dict[Head, ArrayAddress]
    progress: PlaneProgress
    progress_address: ArrayAddress

    def results_of(self, volumes: Sequence[Volume], done: protocol.Done) -> tuple[Restored, ...]:
        """Return what inference has written here, one for each output channel; the memory stays theirs."""
        return tuple(
            record_of(
                Restored,
                head,
                raw=volumes[source_of(c, len(volumes))],
                maps={name: read_only(self.maps[name][c]) for name in done.maps[c]},
                choice=done.choice,
            )
            for c, head in enumerate(done.results)
        )


def planes_of(
    begun: Restored, spans: Mapping[int, Span], shared: SharedVolume, group: ChannelGroup
) -> Iterator[Restored]:
    """Yield restored planes of each output; of one with NaN or infinity, nothing.

    Parameters
    ----------
    begun : what is the same for every output, with the key of the time point's first channel; ``z`` are the planes
    spans : of each channel that the network reads
    group : these channels
    """
    channels, z = group.inputs, begun.z or slice(None)
    sources = tuple(begun.key._replace(c=channel) for channel in channels)
    n_out, n_planes = shared.maps["mean"].shape[:2]
    for i, c in enumerate(group.outputs(n_out)):
        maps = {head: read_only(shared.maps[head][i, z]) for head in shared.heads}
        span = spans[channels[source_of(i, len(channels))]]
        about = {"key": begun.key._replace(c=c), "low": span.low, "high": span.high, "n_planes": n_planes}
        if all(np.isfinite(array).all() for array in maps.values()):
            yield replace(begun, sources=sources, maps=maps, **about)


def moved_out(restored: Restored) -> Restored:
    """Return a result with arrays of its own, so that shared memory is free again."""
    return replace(restored, maps={head: read_only(array.copy()) for head, array in restored.maps.items()})


def lay_out(pool: Pool, results: ResultMaps, volumes: Sequence[Volume]) -> SharedVolume:
    """Put volumes that are complete already into shared memory."""
    shapes = [volume.pixels.shape for volume in volumes]
    shared = allocate(pool, results, shapes, volumes[0].pixels.dtype)
    for pixels, volume in zip(shared.pixels, volumes, strict=True):
        np.copyto(pixels, volume.pixels)
    return shared


def allocate(pool: Pool, results: ResultMaps, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any]) -> SharedVolume:
    """Take shared memory for the pixels of every channel and for the results."""
    lease = pool.take(sum(aligned_bytes(shape, dtype) for shape in shapes) + aligned_bytes((2,), np.int64))
    arrays = [lease.array(shape, dtype) for shape in shapes]
    counts, progress_address = lease.array((2,), np.int64)
    counts[:] = 0
    wanted = results.shapes(shapes[0])
    out = pool.take(sum(aligned_bytes(shape, np.float32) for shape in wanted.values()))
    maps = {head: out.array(shape, np.float32) for head, shape in wanted.items()}
    return SharedVolume(
        [pixels for pixels, _ in arrays],
        tuple(place for _, place in arrays),
        {head: array for head, (array, _) in maps.items()},
        results.card.heads,
        {head: place for head, (_, place) in maps.items()},
        PlaneProgress(counts),
        progress_address,
    )
