"""Memory that the daemon and inference both see: the pixels of a time point, and what is restored of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.images import ModelIdentity, Restored, Volume, VolumeKey, read_only
from care_live.maps import Head
from care_live.model.card import ModelCard
from care_live.restore.geometry import output_shape
from care_live.restore.in_flight import PlaneProgress
from care_live.wire.codec import record_of
from care_live.worker import protocol
from care_live.worker.shared_memory import Place, Pool, room_for


@dataclass(slots=True)
class Room:
    """Shared memory for one time point: pixels of every channel, and results. The arrays hold it."""

    pixels: list[NDArray[Any]]
    places: tuple[Place, ...]
    maps: dict[Head, NDArray[np.float32]]
    results: dict[Head, Place]
    progress: PlaneProgress
    progress_place: Place

    def results_of(
        self, volumes: Sequence[Volume], done: protocol.Done, identity: ModelIdentity
    ) -> tuple[Restored, ...]:
        """Return what inference has written here, one for each output channel; the memory stays theirs."""
        return tuple(
            record_of(
                Restored,
                outcome,
                volume=volumes[outcome.source],
                maps={head: read_only(array[c]) for head, array in self.maps.items()},
                model=identity,
                choice=done.choice,
            )
            for c, outcome in enumerate(done.outcomes)
        )


@dataclass(frozen=True, slots=True, eq=False)
class RestoredPlanes:
    """Planes that are final while their volume is still being recorded."""

    key: VolumeKey
    first: int
    """z of the first one."""
    n_planes: int
    """Of the whole restored volume."""
    maps: Mapping[Head, NDArray[np.float32]]
    """(n, y, x) each, read-only."""


def planes_of(key: VolumeKey, channels: Sequence[int], room: Room, z: slice) -> Iterator[RestoredPlanes]:
    """Yield restored planes of each output; of one with NaN or infinity, nothing.

    Parameters
    ----------
    key : of the time point's first channel
    channels : c of each input of the network
    """
    n_out = len(room.maps["mean"])
    for i, c in enumerate(channels if n_out == len(channels) else range(n_out)):
        found = {head: read_only(array[i, z]) for head, array in room.maps.items()}
        if all(np.isfinite(array).all() for array in found.values()):
            yield RestoredPlanes(key._replace(c=c), z.start, room.maps["mean"].shape[1], found)


def moved_out(restored: Restored) -> Restored:
    """Return a result with arrays of its own, so that shared memory is free again."""
    return replace(restored, maps={head: read_only(array.copy()) for head, array in restored.maps.items()})


def lay_out(pool: Pool, card: ModelCard, volumes: Sequence[Volume]) -> Room:
    """Put volumes that are complete already into shared memory."""
    shapes = [volume.pixels.shape for volume in volumes]
    room = make_room(pool, card, shapes, volumes[0].pixels.dtype)
    for pixels, volume in zip(room.pixels, volumes, strict=True):
        np.copyto(pixels, volume.pixels)
    return room


def make_room(pool: Pool, card: ModelCard, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any]) -> Room:
    """Take shared memory for the pixels of every channel and for the results."""
    lease = pool.take(sum(room_for(shape, dtype) for shape in shapes) + room_for((2,), np.int64))
    arrays = [lease.array(shape, dtype) for shape in shapes]
    counts, progress_place = lease.array((2,), np.int64)
    counts[:] = 0
    shape = output_shape(card, shapes[0])
    out = pool.take(len(card.heads) * room_for(shape, np.float32))
    maps = {head: out.array(shape, np.float32) for head in card.heads}
    return Room(
        [pixels for pixels, _ in arrays],
        tuple(place for _, place in arrays),
        {head: array for head, (array, _) in maps.items()},
        {head: place for head, (_, place) in maps.items()},
        PlaneProgress(counts),
        progress_place,
    )
