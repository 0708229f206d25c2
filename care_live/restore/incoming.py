"""Volumes that are still being recorded: each plane goes straight into memory that inference sees."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.images import PlanePlaced, Volume, VolumeKey, VolumeOpened
from care_live.model.card import Head, ModelCard
from care_live.percentiles import Span
from care_live.restore import talk
from care_live.restore.shape import output_shape
from care_live.restore.shared import Lease, Place, Pool, room_for

_N_OPEN = 4
"""Volumes whose planes are arriving; the oldest one is given up for a fifth."""
_N_BEGUN = 2
"""Volumes that inference is told of between two answers: it may be busy, or hang."""
_AHEAD = 8
"""Planes that inference is told of before it has taken in the first of them: the pipe must never fill up."""


@dataclass(slots=True)
class Room:
    """Shared memory for one time point: pixels of every channel, and results."""

    leases: tuple[Lease, ...]
    pixels: list[NDArray[Any]]
    places: tuple[Place, ...]
    maps: dict[Head, NDArray[np.float32]]
    results: dict[Head, Place]
    taken: NDArray[np.int64]
    taken_place: Place


@dataclass(slots=True)
class _Arriving:
    room: Room
    begun: bool
    """Inference was told."""
    placed: set[int] = field(default_factory=set)
    untold: list[int] = field(default_factory=list)
    n_told: int = 0


class Incoming:
    """Rooms for volumes on their way, and what to tell inference about them. Locked by its owner."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open: dict[VolumeKey, _Arriving] = {}
        self._last_ns = 0
        self._n_begun = 0
        self.plane_s = 0.0
        """From one plane to the next, as of late."""

    def begin(self, opened: VolumeOpened, card: ModelCard, span: Span | None) -> talk.Begin | None:
        """Make room for a volume; return what to tell inference, if its range is known already."""
        while len(self._open) >= _N_OPEN:
            del self._open[next(iter(self._open))]
        shape = (len(opened.planes), *opened.shape_px)
        room = make_room(self._pool, card, [shape], np.dtype(opened.dtype))
        begun = span is not None and self._n_begun < _N_BEGUN
        self._open[opened.key] = _Arriving(room, begun=begun)
        if span is None or not begun:
            return None
        self._n_begun += 1
        return talk.Begin(opened.key, room.places[0], room.taken_place, room.results, span, self.plane_s)

    def place(self, placed: PlanePlaced) -> talk.Placed | None:
        """Copy one plane; return what to tell inference now, if it keeps up."""
        self._notice_rate()
        arriving = self._open.get(placed.key)
        if arriving is None:
            return None
        np.copyto(arriving.room.pixels[0][placed.plane], placed.pixels)
        arriving.placed.add(placed.plane)
        arriving.untold.append(placed.plane)
        if not arriving.begun or arriving.n_told - int(arriving.room.taken[0]) >= _AHEAD:
            return None
        planes, arriving.untold = tuple(arriving.untold), []
        arriving.n_told += len(planes)
        return talk.Placed(placed.key, planes)

    def take(self, volume: Volume) -> tuple[Room, bool] | None:
        """Return the room of a volume if all its planes are there, and whether inference was told of it."""
        arriving = self._open.pop(volume.key, None)
        if arriving is None or volume.integrity.missing or len(arriving.placed) != len(volume.pixels):
            return None
        return arriving.room, arriving.begun

    def answered(self) -> None:
        """Inference has answered, so it reads what it is told."""
        self._n_begun = 0

    def _notice_rate(self) -> None:
        """Follow the time between planes; a pause between stacks does not count."""
        now = time.monotonic_ns()
        since_s, self._last_ns = (now - self._last_ns) / 1e9, now
        if self.plane_s == 0.0:
            self.plane_s = min(since_s, 1.0)
        elif since_s < 4 * self.plane_s + 0.1:
            self.plane_s += 0.1 * (since_s - self.plane_s)


def lay_out(pool: Pool, card: ModelCard, volumes: Sequence[Volume]) -> Room:
    """Put volumes that are complete already into shared memory."""
    shapes = [volume.pixels.shape for volume in volumes]
    room = make_room(pool, card, shapes, volumes[0].pixels.dtype)
    for pixels, volume in zip(room.pixels, volumes, strict=True):
        np.copyto(pixels, volume.pixels)
    return room


def make_room(pool: Pool, card: ModelCard, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any]) -> Room:
    """Take shared memory for the pixels of every channel and for the results."""
    lease = pool.take(sum(room_for(shape, dtype) for shape in shapes) + room_for((1,), np.int64))
    arrays = [lease.array(shape, dtype) for shape in shapes]
    taken, taken_place = lease.array((1,), np.int64)
    taken[:] = 0
    shape = output_shape(card, shapes[0])
    out = pool.take(len(card.heads) * room_for(shape, np.float32))
    maps = {head: out.array(shape, np.float32) for head in card.heads}
    return Room(
        (lease, out),
        [pixels for pixels, _ in arrays],
        tuple(place for _, place in arrays),
        {head: array for head, (array, _) in maps.items()},
        {head: place for head, (_, place) in maps.items()},
        taken,
        taken_place,
    )
