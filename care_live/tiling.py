"""Cut a volume into tiles such that the network gives exactly what it gives for the whole volume.

A tile is read with a halo, the reach of the network, and only its interior is kept. All tiles have one
shape, because an inference session is fastest at one shape: tiles at the far edge are shifted inward.
Tiles start at multiples of the divisor, because a pooling layer would work on a shifted grid otherwise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError, ModelError, OutOfMemoryError

Slices = tuple[slice, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """One piece of work: read, run the network, keep the interior, write it.

    ``out[tile.write] = network(volume[tile.read])[tile.keep]`` for all tiles writes every voxel once.
    """

    read: Slices
    """Of the volume: what the network sees, halo included."""
    keep: Slices
    """Of what the network gives: the interior."""
    write: Slices
    """Of the result: where the interior goes."""


def unpadded(tile: Tile, shape: Sequence[int], around: Sequence[tuple[int, int]]) -> tuple[Slices, Slices]:
    """Return what of a tile's interior lies in the field as it was before it was padded: in the tile, and in the field.

    Parameters
    ----------
    shape : of the field, before
    around : pixels that were added before and after each axis
    """
    keep, write = [], []
    for kept, written, n, (before, _) in zip(tile.keep, tile.write, shape, around, strict=True):
        first, last = max(written.start - before, 0), min(written.stop - before, n)
        start = kept.start + first + before - written.start
        keep.append(slice(start, start + last - first))
        write.append(slice(first, last))
    return tuple(keep), tuple(write)


def padded(shape: Sequence[int], divisor: Sequence[int]) -> Shape:
    """Return the smallest multiples of the divisor that hold a field."""
    return tuple(-(-n // d) * d for n, d in zip(shape, divisor, strict=True))


def margins(
    shape: Sequence[int], divisor: Sequence[int], boundary: Literal["zero", "reflect"]
) -> list[tuple[int, int]]:
    """Return how many pixels to add before and after each axis to reach multiples of the divisor.

    *reflect* pads both sides alike, as CSBDeep does; *zero* pads behind only, so that plane 0 stays first.
    """
    extra = [full - n for n, full in zip(shape, padded(shape, divisor), strict=True)]
    return [(n // 2, n - n // 2) if boundary == "reflect" else (0, n) for n in extra]


def pad(
    pixels: NDArray[Any], around: Sequence[tuple[int, int]], boundary: Literal["zero", "reflect"], fill: Sequence[float]
) -> NDArray[Any]:
    """Pad the last axes of (n, c, …space); *zero* writes each channel's `fill`, which the network takes for 0."""
    if not any(before or after for before, after in around):
        return pixels
    widths = [(0, 0), (0, 0), *around]
    if boundary == "reflect":
        return np.pad(pixels, widths, mode="reflect")
    larger = [n + before + after for n, (before, after) in zip(pixels.shape, widths, strict=True)]
    levels = np.asarray(fill).reshape(1, -1, *[1] * len(around))
    if pixels.dtype.kind == "u":
        levels = np.rint(levels).clip(0, np.iinfo(pixels.dtype).max)
    out = np.empty(larger, pixels.dtype)
    out[:] = levels
    out[tuple(slice(before, before + n) for n, (before, _) in zip(pixels.shape, widths, strict=True))] = pixels
    return out


def tiles(shape: Sequence[int], tile_px: Sequence[int], halo_px: Sequence[int], divisor: Sequence[int]) -> list[Tile]:
    """Cut a field into the fewest equal tiles that are no larger than asked.

    Parameters
    ----------
    shape : size of the field, pixels per axis, multiples of `divisor`
    tile_px : largest tile, halo included
    halo_px : what a tile reads beyond what it keeps, on each side that is not the field's edge
    divisor : tiles start and end at multiples of this

    Raises
    ------
    ConfigError
        A tile is so small that its halo leaves nothing to keep.
    """
    per_axis = [_cuts(*axis) for axis in zip(shape, tile_px, halo_px, divisor, strict=True)]
    return [Tile(*(tuple(part) for part in zip(*cuts, strict=True))) for cuts in itertools.product(*per_axis)]


def tile_shape(shape: Sequence[int], tile_px: Sequence[int], halo_px: Sequence[int], divisor: Sequence[int]) -> Shape:
    """Return the one shape that all tiles of `tiles` have."""
    return tuple(_fit(*axis)[0] for axis in zip(shape, tile_px, halo_px, divisor, strict=True))


def fit_tile(
    shape: Sequence[int], tile_px: Sequence[int], halo_px: Sequence[int], divisor: Sequence[int], *, budget_px: int
) -> Shape:
    """Return the tile of at most `budget_px` pixels that costs the least work in all.

    Starting from the largest tile allowed, one axis at a time is cut once more: the one that makes the
    network read the fewest pixels.

    Raises
    ------
    OutOfMemoryError
        Even the smallest tiles that have an interior are larger than that.
    """
    tile = tile_shape(shape, tile_px, halo_px, divisor)
    while math.prod(tile) > budget_px:
        finer = [_cut_once_more(tile, axis, shape, halo_px=halo_px, divisor=divisor) for axis in range(len(tile))]
        possible = [candidate for candidate in finer if candidate is not None]
        if not possible:
            raise OutOfMemoryError(
                f"the smallest tile {tile} with a halo of {tuple(halo_px)} px does not fit into memory: "
                "close other programs, or use a network with fewer filters"
            )
        tile = min(possible, key=lambda t: math.prod(t) * len(tiles(shape, t, halo_px, divisor)))
    return tile


def refuse_small_halo(halo_px: Sequence[int], reach_px: Sequence[int]) -> None:
    """Raise a ModelError when tiles with this halo would differ from the whole field."""
    if any(halo < reach for halo, reach in zip(halo_px, reach_px, strict=True)):
        raise ModelError(
            f"the model card states a halo of {tuple(halo_px)} px but the network reaches {tuple(reach_px)} px: "
            "tiles would differ from the whole field; correct halo_px in the card"
        )


def _fit(n: int, tile: int, halo: int, divisor: int) -> tuple[int, int]:
    """Return the size and the number of tiles along one axis: the fewest, and then the smallest."""
    if n % divisor:
        raise ConfigError(f"a field of {n} px is not a multiple of the network's divisor {divisor}: pad it first")
    if tile >= n:
        return n, 1
    step = (tile // divisor * divisor - 2 * halo) // divisor * divisor
    if step < divisor:
        raise ConfigError(
            f"a tile of {tile} px leaves no interior between two halos of {halo} px: "
            f"set tile_px to at least {_ceil(2 * halo + divisor, divisor)} on this axis"
        )
    count = max(2, -(-(n - 2 * halo) // step))
    size = _ceil(-(-(n - 2 * halo) // count), divisor) + _ceil(2 * halo, divisor)
    return min(size, tile // divisor * divisor, n), count


def _cut_once_more(
    tile: Shape, axis: int, shape: Sequence[int], *, halo_px: Sequence[int], divisor: Sequence[int]
) -> Shape | None:
    """Return the tile with the next smaller size on one axis, or None where only halo would be left."""
    try:
        size, _ = _fit(shape[axis], tile[axis] - divisor[axis], halo_px[axis], divisor[axis])
    except ConfigError:
        return None
    return (*tile[:axis], size, *tile[axis + 1 :]) if size > 0 else None


def _cuts(n: int, tile: int, halo: int, divisor: int) -> list[tuple[slice, slice, slice]]:
    """Return read, keep and write of each tile along one axis."""
    size, count = _fit(n, tile, halo, divisor)
    step = (size - 2 * halo) // divisor * divisor
    starts = [min(i * step, n - size) for i in range(count)]
    inner = [start + halo for start in starts[1:]]
    edges = list(itertools.pairwise([0, *inner, n]))
    return [
        (slice(start, start + size), slice(first - start, last - start), slice(first, last))
        for start, (first, last) in zip(starts, edges, strict=True)
    ]


def _ceil(n: int, divisor: int) -> int:
    return -(-n // divisor) * divisor
