"""Volumes that are still being recorded: each plane goes straight into memory that inference sees."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.images import ModelIdentity, PlanePlaced, Restored, Volume, VolumeKey, VolumeOpened, read_only
from care_live.maps import Head
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore.geometry import output_shape
from care_live.worker import protocol
from care_live.worker.shared_memory import Place, Pool, room_for

NO_PIXELS = np.empty((0, 0, 0), np.uint16)
"""Stands for the pixels of a volume whose real ones lie in shared memory."""
_N_OPEN = 4
"""Volumes whose planes are arriving; the oldest one is given up for a fifth."""
_N_BEGUN = 2
"""Volumes that inference is told of between two answers: it may be busy, or hang."""
_AHEAD = 8
"""Planes that inference is told of before it has taken in the first of them: the pipe must never fill up."""


@dataclass(slots=True)
class Room:
    """Shared memory for one time point: pixels of every channel, and results. The arrays hold it."""

    pixels: list[NDArray[Any]]
    places: tuple[Place, ...]
    maps: dict[Head, NDArray[np.float32]]
    results: dict[Head, Place]
    taken: NDArray[np.int64]
    """(2,): planes that inference has taken in, and planes from the first on that are restored."""
    taken_place: Place

    def results_of(
        self, volumes: Sequence[Volume], outcomes: Sequence[protocol.Outcome], identity: ModelIdentity
    ) -> tuple[Restored, ...]:
        """Return what inference has written here, one for each output channel; the memory stays theirs."""
        return tuple(
            Restored(
                volume=volumes[outcome.source],
                maps={head: read_only(array[c]) for head, array in self.maps.items()},
                voxel_size_um=outcome.voxel_size_um,
                low=outcome.low,
                high=outcome.high,
                model=identity,
                flags=outcome.flags,
                infer_s=outcome.infer_s,
                c_out=outcome.c_out,
                trust=outcome.trust,
            )
            for c, outcome in enumerate(outcomes)
        )


@dataclass(slots=True)
class _Arriving:
    room: Room
    channels: tuple[int, ...]
    """c of each input of the network."""
    begun: bool
    """Inference was told."""
    opened: set[int] = field(default_factory=set)
    """Channels of which a plane has come."""
    placed: set[tuple[int, int]] = field(default_factory=set)
    """Input and z."""
    untold: list[tuple[int, int]] = field(default_factory=list)
    n_told: int = 0
    n_shown: int = 0
    """Restored planes that were handed out before the volume was complete."""


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


class Incoming:
    """Rooms for volumes on their way, and what to tell inference about them. Locked by its owner.

    Parameters
    ----------
    pool : memory to share
    after : of the network that ran before and may still be writing there
    """

    def __init__(self, pool: Pool, *, after: Incoming | None = None) -> None:
        self._pool = pool
        self._before = [] if after is None else after.let_go() + [left.room for left in after._open.values()]
        self._open: dict[VolumeKey, _Arriving] = {}
        self._given_up: list[Room] = []
        self._last_ns = 0
        self._n_begun = 0
        self.plane_s = 0.0
        """From one plane to the next, as of late."""

    def begin(self, opened: VolumeOpened, card: ModelCard, spans: Mapping[int, Span | None]) -> protocol.Begin | None:
        """Make room for a time point at the first plane of its first channel.

        Parameters
        ----------
        spans : of each c that the network takes, in its order; None where the range is not known yet

        Returns
        -------
        What to tell inference, if all ranges are known.
        """
        channels, shape = tuple(spans), (len(opened.planes), *opened.shape_px)
        key = opened.key._replace(c=channels[0])
        arriving = self._open.get(key)
        if arriving is not None and opened.key.c not in arriving.opened:
            arriving.opened.add(opened.key.c)
            if arriving.room.pixels[0].shape != shape:
                self._give_up(key)
            return None
        self._give_up(key)
        while len(self._open) >= _N_OPEN:
            self._give_up(next(iter(self._open)))
        room = make_room(self._pool, card, [shape] * len(channels), np.dtype(opened.dtype))
        known = tuple(span for span in spans.values() if span is not None)
        begun = len(known) == len(channels) and self._n_begun < _N_BEGUN
        self._open[key] = _Arriving(room, channels, begun=begun, opened={opened.key.c})
        self._n_begun += begun
        if not begun:
            return None
        return protocol.Begin(key, room.places, room.taken_place, room.results, known, self.plane_s)

    def place(self, placed: PlanePlaced) -> None:
        """Copy one plane of a volume that has room."""
        self._notice_rate()
        t, p, c = placed.key
        for key, arriving in self._open.items():
            if (key.t, key.p) == (t, p) and c in arriving.opened:
                plane = (arriving.channels.index(c), placed.plane)
                np.copyto(arriving.room.pixels[plane[0]][placed.plane], placed.pixels)
                arriving.placed.add(plane)
                arriving.untold.append(plane)

    def news(self) -> list[protocol.PlanesPlaced]:
        """Return what to tell inference now, as far as it keeps up."""
        told = []
        for key, arriving in self._open.items():
            if arriving.begun and arriving.untold and arriving.n_told - int(arriving.room.taken[0]) < _AHEAD:
                told.append(protocol.PlanesPlaced(key, tuple(arriving.untold)))
                arriving.n_told += len(arriving.untold)
                arriving.untold = []
        return told

    def take(self, volumes: Sequence[Volume]) -> tuple[Room, bool] | None:
        """Return the room of a time point if all its planes are there, and whether inference was told of it."""
        arriving = self._open.pop(volumes[0].key, None)
        if arriving is None:
            return None
        missing = any(volume.integrity.missing for volume in volumes)
        n_planes = sum(len(volume.pixels) for volume in volumes)
        if missing or len(arriving.placed) != n_planes or [v.key.c for v in volumes] != list(arriving.channels):
            self._given_up.append(arriving.room)
            return None
        return arriving.room, arriving.begun

    def let_go(self) -> list[Room]:
        """Return the rooms of volumes given up so far.

        Inference may still be writing to them: the caller keeps them until it has answered what it was sent
        next, lest their memory be used again too early.
        """
        rooms, self._given_up = self._given_up, []
        return rooms

    def _give_up(self, key: VolumeKey) -> None:
        arriving = self._open.pop(key, None)
        if arriving is not None:
            self._given_up.append(arriving.room)

    def restored_planes(self) -> list[RestoredPlanes]:
        """Return what has become final since the last call."""
        return [
            planes for key, arriving in self._open.items() if arriving.begun for planes in _fresh_planes(key, arriving)
        ]

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


def _fresh_planes(key: VolumeKey, arriving: _Arriving) -> Iterator[RestoredPlanes]:
    """Yield the planes of each output that are final and not shown; none, if one of them is no number."""
    room = arriving.room
    first, last = arriving.n_shown, int(room.taken[1])
    if last <= first:
        return
    arriving.n_shown = last
    n_out = len(room.maps["mean"])
    for i, c in enumerate(arriving.channels if n_out == len(arriving.channels) else range(n_out)):
        found = {head: read_only(array[i, first:last]) for head, array in room.maps.items()}
        if all(np.isfinite(array).all() for array in found.values()):
            yield RestoredPlanes(key._replace(c=c), first, room.maps["mean"].shape[1], found)


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
    taken, taken_place = lease.array((2,), np.int64)
    taken[:] = 0
    shape = output_shape(card, shapes[0])
    out = pool.take(len(card.heads) * room_for(shape, np.float32))
    maps = {head: out.array(shape, np.float32) for head in card.heads}
    return Room(
        [pixels for pixels, _ in arrays],
        tuple(place for _, place in arrays),
        {head: array for head, (array, _) in maps.items()},
        {head: place for head, (_, place) in maps.items()},
        taken,
        taken_place,
    )
