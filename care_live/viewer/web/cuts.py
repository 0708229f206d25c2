"""What a view shows of a volume: planes, ortho planes, a maximum or a reduced volume. Calculations only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.maps import kind_of
from care_live.viewer.view_records import ShownImage, ViewedVolume
from care_live.viewer.web.requests import ViewMode
from care_live.wire.arrays import PRODUCTS, Product

CutPlane: TypeAlias = Literal["xy", "xz", "yz", "xyz"]
Cut: TypeAlias = tuple[Product, CutPlane, NDArray[Any]]

MAX_VOXELS = 1 << 21
"""A turned volume is reduced in y and x until a browser's graphics memory takes it lightly."""


def centre(shape: tuple[int, int, int], z: int | None, y: int | None, x: int | None) -> tuple[int, int, int]:
    """Return the voxel to cut through: the requested one, moved into the volume, or the middle."""
    asked = tuple(n // 2 if index is None else min(index, n - 1) for index, n in zip((z, y, x), shape, strict=True))
    return asked[0], asked[1], asked[2]


def matching(index: int, n_all: int, n: int) -> int:
    """Return the plane, row or column, of `n`, that lies where the one of `n_all` lies."""
    return min(n - 1, (index * n) // max(n_all, 1))


def cut(shown: ViewedVolume, mode: ViewMode, at: tuple[int, int, int]) -> list[Cut]:
    """Cut all products of a volume for one view.

    Parameters
    ----------
    at : voxel (z, y, x) of `shown.shape`

    Returns
    -------
    list of (product, plane, array)
        Arrays are (y, x) for xy, (z, x) for xz, (y, z) for yz and (z, y, x) for xyz.
    """
    if mode == "max":
        return _maxima(shown)
    cuts: list[Cut] = []
    for product in PRODUCTS:
        parts = shown.parts(product)
        if parts and mode == "volume":
            cuts.append((product, "xyz", _join(parts)))
        elif parts:
            z = matching(at[0], shown.shape[0], sum(map(len, parts)))
            cuts.append((product, "xy", _plane(parts, z)))
            cuts += _sides(product, parts, at, shown.shape) if mode == "ortho" else []
    return cuts


def _plane(parts: Sequence[ShownImage], z: int) -> NDArray[Any]:
    """Return one plane of arrays that follow each other along z."""
    for part in parts:
        if z < len(part):
            return np.asarray(part[z])
        z -= len(part)
    raise IndexError("a plane beyond the last one")


def _sides(
    product: Product, parts: Sequence[ShownImage], at: tuple[int, int, int], full: tuple[int, int, int]
) -> list[Cut]:
    """Return the planes xz and yz through a voxel of the full shape."""
    y, x = map(matching, at[1:], full[1:], parts[0].shape[1:])
    xz, yz = _join([part[:, y, :] for part in parts]), _join([part[:, :, x] for part in parts])
    return [(product, "xz", xz), (product, "yz", yz.T)]


def _join(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays that follow each other along z as one; a single one is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _maxima(shown: ViewedVolume) -> list[Cut]:
    """Project along z; uncertainty is taken where the restored maximum lies, not its own maximum.

    A map with two sides shows what is farthest from 0 in any plane: what is marked stays marked.
    """
    whole = {product: _join(parts) for product in PRODUCTS if (parts := shown.parts(product))}
    cuts: list[Cut] = []
    if (raw := whole.pop("raw", None)) is not None:
        cuts.append(("raw", "xy", raw.max(axis=0)))
    if "mean" in whole:
        brightest = whole["mean"].argmax(axis=0)[None]
        for product, image in whole.items():
            along = farthest(image) if _has_two_sides(product) else np.take_along_axis(image, brightest, axis=0)[0]
            cuts.append((product, "xy", along))
    return cuts


def _has_two_sides(product: Product) -> bool:
    kind = kind_of(product)
    return kind is not None and kind.coding == "signed"


def farthest(volume: NDArray[Any]) -> NDArray[Any]:
    """Return what is farthest from 0 along z, (y, x)."""
    largest, smallest = volume.max(axis=0), volume.min(axis=0)
    return np.asarray(np.where(largest >= -smallest, largest, smallest))


def volume_level(shape: tuple[int, int, int], max_voxels: int = MAX_VOXELS) -> int:
    """Return how often y and x must be halved until a volume has at most `max_voxels`."""
    z, y, x = shape
    level = 0
    while z * -(-y >> level) * -(-x >> level) > max_voxels and level < 8:
        level += 1
    return level
