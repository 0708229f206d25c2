"""Coarser levels of an image: made when a viewer or a reader requests them, and stored by `care-live restore`."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.maps import MAPS, folder_of

Combine: TypeAlias = Literal["average", "largest", "farthest"]
"""What stands for a block of pixels; *farthest*: from 0, on either side."""
_OF_CODING: dict[str, Combine] = {"affine": "average", "log2": "largest", "signed": "farthest"}
_OF_PRODUCT = {name: _OF_CODING[kind.coding] for head, kind in MAPS.items() for name in (head, folder_of(head))}


_SUMS = {"uint8": np.uint32, "uint16": np.uint32, "int16": np.int32, "uint32": np.uint64}
"""In which the sum of a block has room."""


def combine_of(product: str) -> Combine:
    """Return what stands for a block of a map or of raw pixels: a level never looks surer than what it was made of."""
    return _OF_PRODUCT.get(product, "average")


def coarser(image: NDArray[Any], level: int, combine: Combine = "average", *, whole: bool = False) -> NDArray[Any]:
    """Shrink rows and columns by 2^level.

    Parameters
    ----------
    image : (…, y, x)
    level : 0 returns `image`
    combine : what stands for a block of pixels
    whole : rows and columns that fill no whole block are left out, but for an image smaller than a block; else the last
        row and column are repeated until they do

    Returns
    -------
    (…, ceil(y / 2**level), ceil(x / 2**level)) of the same dtype; where `whole`, rounded down, but at least 1
    """
    if level == 0:
        return image
    *before, rows, columns = image.shape
    block = (min(2**level, rows), min(2**level, columns)) if whole else (2**level, 2**level)
    if whole:
        image = image[..., : rows // block[0] * block[0], : columns // block[1] * block[1]]
    elif rows % block[0] or columns % block[1]:
        image = np.pad(image, [*((0, 0) for _ in before), (0, -rows % block[0]), (0, -columns % block[1])], mode="edge")
    if combine == "largest":
        return _combined(np.maximum, image, block)
    if combine == "farthest":
        largest, smallest = _combined(np.maximum, image, block), _combined(np.minimum, image, block)
        return np.where(largest >= -smallest, largest, smallest)
    counts = image.dtype.kind in "iu"
    summed = _combined(np.add, image.astype(_SUMS.get(image.dtype.name, image.dtype)), block)
    average: NDArray[Any] = summed / summed.dtype.type(math.prod(block))
    return np.rint(average).astype(image.dtype) if counts else average


def halved(volume: NDArray[Any], combine: Combine = "average") -> NDArray[Any]:
    """Return the next coarser level of a volume, made plane by plane: beside the level itself, memory for planes only.

    Parameters
    ----------
    volume : (z, y, x)

    Returns
    -------
    (z, ceil(y / 2), ceil(x / 2)) of the same dtype

    Raises
    ------
    MemoryError
        The level does not fit.
    """
    depth, rows, columns = volume.shape
    made = np.empty((depth, math.ceil(rows / 2), math.ceil(columns / 2)), volume.dtype)
    for plane, level in zip(volume, made, strict=True):
        level[...] = coarser(plane, 1, combine)
    return made


def _combined(combine: np.ufunc, image: NDArray[Any], block: tuple[int, int]) -> NDArray[Any]:
    """Reduce blocks of rows and columns, halving as long as it goes: twice as fast as one reduction over blocks."""
    rows, columns = block
    while rows % 2 == 0 and columns % 2 == 0:
        halved = combine(image[..., 0::2, :], image[..., 1::2, :])
        image = combine(halved[..., 0::2], halved[..., 1::2])
        rows, columns = rows // 2, columns // 2
    *before, y, x = image.shape
    parted = image.reshape(*before, y // rows, rows, x // columns, columns)
    reduced: NDArray[Any] = combine.reduce(parted, axis=(-3, -1))
    return reduced
