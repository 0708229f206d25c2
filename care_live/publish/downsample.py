"""What a watcher sees of a volume: a level of it, and a region of that level. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.maps import kind_of
from care_live.wire.arrays import Product
from care_live.wire.messages import View


def look(product: Product, volume: NDArray[Any], view: View) -> tuple[NDArray[Any], tuple[int, int, int]] | None:
    """Return the wanted part of one product and where it begins; None: the region begins outside of it.

    The region is cut out before it is shrunk, so that a small one costs little.

    Parameters
    ----------
    volume : (z, y, x) camera counts or float32

    Returns
    -------
    (z, y, x) of the same dtype, and the (z, y, x) of its first voxel, in voxels of the level
    """
    blocks = (1, *(min(2**view.level, size) for size in volume.shape[1:]))
    sizes = tuple(size // block for size, block in zip(volume.shape, blocks, strict=True))
    z, y, x = view.origin_px
    if any(start >= size for start, size in zip((z, y, x), sizes, strict=True)):
        return None
    ends = (
        min(start + length, size) for start, length, size in zip((z, y, x), view.shape_px or sizes, sizes, strict=True)
    )
    part = tuple(slice(start * block, end * block) for start, end, block in zip((z, y, x), ends, blocks, strict=True))
    return downsample(product, volume[part], view.level), (z, y, x)


def downsample(product: Product, volume: NDArray[Any], level: int) -> NDArray[Any]:
    """Shrink rows and columns by 2^level: the average of raw and mean; of other maps what `MapKind.coding` says.

    Planes stay: z steps are coarse already. Rows and columns that fill no whole block are left out, but for a
    volume smaller than a block.
    """
    if level == 0:
        return volume
    rows, columns = volume.shape[1:]
    block_y, block_x = (min(2**level, size) for size in (rows, columns))
    whole = volume[:, : rows // block_y * block_y, : columns // block_x * block_x]
    kind = kind_of(product)
    if kind is not None and kind.coding != "affine":
        largest = _combined(np.maximum, whole, (block_y, block_x))
        return largest if kind.coding == "log2" else farthest(largest, _combined(np.minimum, whole, (block_y, block_x)))
    summed = _combined(np.add, whole.astype(np.uint32) if volume.dtype.kind == "u" else whole, (block_y, block_x))
    mean: NDArray[Any] = summed / summed.dtype.type(block_y * block_x)
    return np.rint(mean).astype(volume.dtype) if volume.dtype.kind == "u" else mean


def farthest(largest: NDArray[Any], smallest: NDArray[Any]) -> NDArray[Any]:
    """Return which of both is farther from 0."""
    return np.where(largest >= -smallest, largest, smallest)


def _combined(combine: np.ufunc, volume: NDArray[Any], blocks: tuple[int, int]) -> NDArray[Any]:
    """Reduce blocks of rows and columns, halving as long as it goes: twice as fast as one reduction over blocks."""
    block_y, block_x = blocks
    while block_y % 2 == 0 and block_x % 2 == 0:
        halved = combine(volume[:, 0::2], volume[:, 1::2])
        volume = combine(halved[..., 0::2], halved[..., 1::2])
        block_y, block_x = block_y // 2, block_x // 2
    planes, rows, columns = volume.shape
    parted = volume.reshape(planes, rows // block_y, block_y, columns // block_x, block_x)
    reduced: NDArray[Any] = combine.reduce(parted, axis=(2, 4))
    return reduced
