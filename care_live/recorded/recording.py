"""What every recorded data set offers, whatever wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike

from care_live.errors import SourceError
from care_live.images import Counts, Plan, PlaneIndex, VolumeKey


class Stamp(NamedTuple):
    """What a data set says about the moment a plane was taken."""

    elapsed_us: int | None = None
    """On the recording's own clock, from any zero: differences are what counts."""
    core_time_us: int | None = None
    """When Micro-Manager's core received it, microseconds since the epoch."""
    exposure_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a data set holds, known once it is open."""

    plan: Plan
    order: tuple[PlaneIndex, ...]
    """Every plane that exists, in the order in which it was acquired."""
    summary: Mapping[str, Any]
    """JSON-able: kind of file, its own description."""


class Recording(Protocol):
    """A recorded data set, read plane by plane: never more than a slab of it is in memory."""

    @property
    def contents(self) -> Contents:
        """What it holds."""

    def read_plane(self, index: PlaneIndex) -> Counts:
        """Return one plane, (y, x) in the machine's byte order, read-only."""

    def stamp(self, index: PlaneIndex) -> Stamp:
        """Return when that plane was taken, as far as the file says."""

    def close(self) -> None:
        """Close its files; no plane can be read afterwards."""


def stacks_of(indices: Iterable[PlaneIndex]) -> dict[VolumeKey, tuple[int, ...]]:
    """Return the sorted z indices of every volume that planes belong to."""
    planes: dict[VolumeKey, set[int]] = {}
    for index in indices:
        planes.setdefault(index.volume, set()).add(index.z)
    return {key: tuple(sorted(z)) for key, z in planes.items()}


def every_index(n: Mapping[str, int]) -> tuple[PlaneIndex, ...]:
    """Return all planes of a full grid, z fastest, then c, p and t (Micro-Manager's usual order)."""
    grid = np.ndindex(n.get("T", 1), n.get("P", 1), n.get("C", 1), n.get("Z", 1))
    return tuple(PlaneIndex(*place) for place in grid)


def counts_dtype(dtype: DTypeLike, where: object) -> str:
    """Return the numpy name of camera counts' type.

    Raises
    ------
    SourceError
        The pixels are no camera counts: floats, signed or 32 bit.
    """
    name = np.dtype(dtype).name
    if name not in ("uint8", "uint16"):
        raise SourceError(f"{where} holds {name} pixels; wanted uint8 or uint16 camera counts: convert it first")
    return name
