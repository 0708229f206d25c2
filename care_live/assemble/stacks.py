"""A volume whose planes are still coming: its memory, its book-keeping, and how it closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from care_live.assemble.volume_memory import VolumeMemory
from care_live.images import Closed, Counts, Frame, Integrity, Plan, State, Volume, VolumeKey, read_only
from care_live.volume_set import VolumeSet


class Planes(Protocol):
    """Where the pixels of one open volume lie."""

    nbytes: int

    def grown(self) -> Planes:
        """Return this with memory for one more plane.

        Raises
        ------
        MemoryError
            The machine has none.
        """

    def put(self, z: int, pixels: Counts) -> None:
        """Copy a plane to its place."""

    def whole(self) -> Counts:
        """Return all planes, (z, y, x), read-only."""


class PlannedPlanes:
    """Memory for every planned plane, found at the first one; planes that never come are zero."""

    def __init__(self, planned: Sequence[int], plan: Plan, memory: VolumeMemory) -> None:
        self._row = {z: row for row, z in enumerate(planned)}
        self._pixels: Counts = memory.take((len(planned), *plan.shape_px), plan.dtype)
        self._lacking = set(self._row.values())
        self.nbytes = self._pixels.nbytes

    def grown(self) -> Planes:
        return self

    def put(self, z: int, pixels: Counts) -> None:
        self._pixels[self._row[z]] = pixels
        self._lacking.discard(self._row[z])

    def whole(self) -> Counts:
        for row in self._lacking:  # the memory may have been another volume's
            self._pixels[row] = 0
        return read_only(self._pixels)


class UnplannedPlanes:
    """Planes of a volume of unknown depth: which row is whose is known only when it closes.

    It begins with memory for one.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._planes: dict[int, Counts] = {}
        self._next: Counts = np.empty(plan.shape_px, plan.dtype)
        self.nbytes = 0

    def grown(self) -> Planes:
        self._next = np.empty(self._plan.shape_px, self._plan.dtype)
        return self

    def put(self, z: int, pixels: Counts) -> None:
        self._next[:] = pixels
        self._planes[z] = self._next
        self.nbytes += pixels.nbytes

    def whole(self) -> Counts:
        return read_only(np.stack([self._planes[z] for z in sorted(self._planes)]))


def planes_for(planned: Sequence[int] | None, plan: Plan, memory: VolumeMemory) -> Planes:
    """Return memory for a volume, or for its first plane where its depth is unknown.

    Raises
    ------
    MemoryError
        The machine has none.
    """
    return UnplannedPlanes(plan) if planned is None else PlannedPlanes(planned, plan, memory)


@dataclass(slots=True)
class Stack:
    """The planes of one volume so far. Owned by the assembler's thread."""

    key: VolumeKey
    planned: tuple[int, ...] | None
    """None: the plan has no number of planes."""
    planes: Planes | None
    """None: the volume was refused, and only counts what it skips."""
    touched_ns: int
    """The assembler's clock when a plane last came."""
    received: set[int] = field(default_factory=set)
    sequence_ids: set[int] = field(default_factory=set)
    highest_z: int = -1
    n_duplicates: int = 0
    n_out_of_order: int = 0
    worst_gap_ns: int = 0
    first_ns: int | None = None
    last_ns: int = 0
    acquired_us: int = 0
    exposure_ms: float | None = None

    @property
    def complete(self) -> bool:
        return self.planned is not None and len(self.received) == len(self.planned)

    @property
    def missing(self) -> frozenset[int]:
        return frozenset(self.planned or ()) - self.received

    @property
    def nbytes(self) -> int:
        return 0 if self.planes is None else self.planes.nbytes

    def note(self, frame: Frame, acquired_us: int) -> None:
        """Note when and how a plane came; `Planes.put` takes its pixels."""
        self.n_out_of_order += frame.index.z < self.highest_z
        self.highest_z = max(self.highest_z, frame.index.z)
        self.received.add(frame.index.z)
        if frame.sequence_id is not None:
            self.sequence_ids.add(frame.sequence_id)
        if self.first_ns is None:
            self.first_ns = self.last_ns = frame.host_time_ns
        self.worst_gap_ns = max(self.worst_gap_ns, frame.host_time_ns - self.last_ns)
        self.last_ns = max(self.last_ns, frame.host_time_ns)
        self.acquired_us = max(self.acquired_us, acquired_us)
        self.exposure_ms = frame.exposure_ms

    def integrity(self) -> Integrity:
        received = tuple(sorted(self.received))
        return Integrity(
            expected=received if self.planned is None else self.planned,
            received=received,
            n_duplicates=self.n_duplicates,
            n_out_of_order=self.n_out_of_order,
            worst_gap_ms=self.worst_gap_ns / 1e6,
            sequence_ids=tuple(sorted(self.sequence_ids)),
        )

    def close(self, run_id: str, plan: Plan, *, closed: Closed, state: State) -> Volume:
        """Return the finished volume; this stack must not be used afterwards."""
        assert self.planes is not None and self.first_ns is not None
        return Volume(
            run_id=run_id,
            key=self.key,
            pixels=self.planes.whole(),
            voxel_size_um=plan.voxel_size_um,
            integrity=self.integrity(),
            closed=closed,
            state=state,
            first_plane_ns=self.first_ns,
            last_plane_ns=self.last_ns,
            acquired_us=self.acquired_us,
            exposure_ms=self.exposure_ms,
        )


class ClosedVolumes:
    """Which volumes are closed, and what they lacked; stays small in a run of any length."""

    def __init__(self) -> None:
        self._closed = VolumeSet()
        self._missing: dict[VolumeKey, frozenset[int]] = {}

    def add(self, key: VolumeKey, missing: frozenset[int]) -> None:
        self._closed.add(key)
        if missing:
            self._missing[key] = missing

    def __contains__(self, key: VolumeKey) -> bool:
        return key in self._closed

    def lacked(self, key: VolumeKey, z: int) -> bool:
        """Return whether a volume lacked this plane when it closed."""
        return z in self._missing.get(key, ())


def misfit(frame: Frame, plan: Plan) -> tuple[Literal["wrong-shape", "wrong-dtype"], str] | None:
    """Return how the frame's pixels differ from the plan."""
    if frame.pixels.shape != plan.shape_px:
        return "wrong-shape", f"the frame is {frame.pixels.shape} px, the plan says {plan.shape_px}"
    if frame.pixels.dtype.name != plan.dtype:
        return "wrong-dtype", f"the frame is {frame.pixels.dtype.name}, the plan says {plan.dtype}"
    return None


def no_more_memory(nbytes: int) -> str:
    """Return why a volume is refused that the settings allow."""
    return f"{nbytes / 2**20:.1f} MiB asked, but this machine has no more memory: end other programs"
