"""What every recorded data set offers, whatever wrote it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from care_live.errors import SourceError
from care_live.images import Counts, Plan, PlaneIndex, VolumeKey

MAX_PLANES = 1 << 22
"""No acquisition has more; their list alone takes 600 MB."""
_MAX_PLANE_BYTES = 1 << 30
"""No camera has more pixels."""
_AS_THEY_ARE = ("uint8", "uint16", "int16", "uint32", "float32")
_READ_AS = {"int8": "int16", "float16": "float32"} | dict.fromkeys(("int32", "int64", "uint64", "float64"), "float32")
_REFUSED = {"bool": "a mask is no image", "complex64": "give their magnitude", "complex128": "give their magnitude"}


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
    pixels: str = ""
    """Type of the file's pixels, by numpy's name, where planes may be read as another one, the plan's; else empty."""

    @property
    def conversion(self) -> str:
        """What is done to the pixels' type, in words; empty: nothing."""
        as_they_are = self.pixels in ("", self.plan.dtype)
        return "" if as_they_are else f"{self.pixels} pixels are read as {self.plan.dtype}"


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


def names_of(kind: str, given: Sequence[str], n: int) -> tuple[str, ...]:
    """Return the names of `n` channels or positions: as given where each has one of its own, else made up."""
    if len(given) == n and len(set(given)) == n and all(given):
        return tuple(given)
    return ("default",) if n == 1 else tuple(f"{kind} {number}" for number in range(n))


def every_index(n: Mapping[str, int]) -> tuple[PlaneIndex, ...]:
    """Return all planes of a full grid, z fastest, then c, p and t (Micro-Manager's usual order)."""
    grid = np.ndindex(n.get("T", 1), n.get("P", 1), n.get("C", 1), n.get("Z", 1))
    return tuple(PlaneIndex(*place) for place in grid)


def check_size(where: object, shape: Sequence[int], n_bytes: int) -> None:
    """Refuse what a damaged header announces, before memory is taken for it.

    Parameters
    ----------
    shape : (..., y, x) of all planes
    n_bytes : of one pixel

    Raises
    ------
    SourceError
        There is nothing, or more than any acquisition has.
    """
    n_planes, plane_bytes = math.prod(shape[:-2]), math.prod(shape[-2:]) * n_bytes
    if not 0 < n_planes <= MAX_PLANES:
        raise SourceError(f"{where} announces {n_planes} planes; wanted 1 to {MAX_PLANES}")
    if not 0 < plane_bytes <= _MAX_PLANE_BYTES:
        raise SourceError(f"{where} announces planes of {plane_bytes} bytes; wanted 1 to {_MAX_PLANE_BYTES}")


def size_um(size: float | None) -> float:
    """Return the size of a voxel in micrometres, 1 where none is known; ImageJ gives some of them a sign."""
    return abs(size) if size and math.isfinite(size) else 1.0


def number_dtype(dtype: DTypeLike, where: object) -> str:
    """Return the numpy name of the type as which pixels are read; which may be acquired, `counts_dtype` says.

    Types that no network takes are read as float32, which has whole numbers up to 2^24 as they are; int8 as int16.

    Raises
    ------
    SourceError
        They are no numbers, or of two parts.
    """
    name = np.dtype(dtype).name
    if name in _AS_THEY_ARE:
        return name
    if name not in _READ_AS:
        why = _REFUSED.get(name, "convert it first")
        raise SourceError(f"{where} holds {name} pixels; wanted whole or floating-point numbers: {why}")
    return _READ_AS[name]


def converted(pixels: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return pixels as another type; what is too large for it becomes infinite, which restoring refuses."""
    with np.errstate(over="ignore"):
        return pixels.astype(dtype)


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
