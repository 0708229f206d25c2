"""A level of a volume, and a region of that level, as a view defines them. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from numpy.typing import NDArray

from care_live.pyramid import coarser, combine_of
from care_live.wire.arrays import Product
from care_live.wire.messages import View


def look(
    product: Product, volume: NDArray[Any], view: View, *, own_level: int = 0
) -> tuple[NDArray[Any], tuple[int, int, int]] | None:
    """Return the wanted part of one product and where it begins; None: the region begins outside of it.

    The region is cut out before it is shrunk, so that a small one costs little.

    Parameters
    ----------
    volume : (z, y, x) camera counts or float32
    own_level : that the array has; a finer one can't be given

    Returns
    -------
    (z, y, x) of the same dtype, and the (z, y, x) of its first voxel, in voxels of the level
    """
    if own_level:
        view = _seen_from(view, own_level)
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


def _seen_from(view: View, own_level: int) -> View:
    """Return a view as it is of an array that has a level of its own: what is left to shrink, and the region there."""
    coarse = 2 ** max(own_level - view.level, 0)
    (z, y, x), shape = view.origin_px, view.shape_px
    if shape is not None:
        ends = (-(-(first + n) // coarse) for first, n in zip((y, x), shape[1:], strict=True))
        shape = (shape[0], *(end - first // coarse for first, end in zip((y, x), ends, strict=True)))
    level = max(view.level - own_level, 0)
    return msgspec.structs.replace(view, level=level, origin_px=(z, y // coarse, x // coarse), shape_px=shape)


def downsample(product: Product, volume: NDArray[Any], level: int) -> NDArray[Any]:
    """Shrink rows and columns by 2^level: the average of raw and mean; of other maps what `MapKind.coding` says.

    Planes stay: z steps are coarse already. Rows and columns that fill no whole block are left out, but for a
    volume smaller than a block.
    """
    return coarser(volume, level, combine_of(product), whole=True)
