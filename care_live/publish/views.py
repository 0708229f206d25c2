"""What a watcher sees of a volume: a level of it, and a region of that level. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.wire.arrays import Product
from care_live.wire.messages import View

_SEEN_AS: dict[Product, Callable[..., NDArray[Any]]] = {
    "raw": np.mean,
    "mean": np.mean,
    "laplace_scale": np.max,  # a level never looks surer than the volume it was made of
    "disagreement": np.max,
}


def look(product: Product, volume: NDArray[Any], view: View) -> tuple[NDArray[Any], tuple[int, int, int]]:
    """Return the wanted part of one product and where it begins.

    Parameters
    ----------
    volume : (z, y, x) camera counts or float32

    Returns
    -------
    (z, y, x) of the same dtype, and the (z, y, x) of its first voxel, in voxels of the level
    """
    seen = downsample(product, volume, view.level)
    origin = tuple(min(start, size - 1) for start, size in zip(view.origin_px, seen.shape, strict=True))
    wanted = view.shape_px or seen.shape
    region = seen[tuple(slice(start, start + size) for start, size in zip(origin, wanted, strict=True))]
    return region, (origin[0], origin[1], origin[2])


def downsample(product: Product, volume: NDArray[Any], level: int) -> NDArray[Any]:
    """Shrink rows and columns by 2^level: the average of raw and mean, the largest of scale and disagreement.

    Planes stay: z steps are coarse already. Rows and columns that fill no whole block are left out, but for a
    volume smaller than a block.
    """
    if level == 0:
        return volume
    planes, rows, columns = volume.shape
    block_y, block_x = (min(2**level, size) for size in (rows, columns))
    n_y, n_x = rows // block_y, columns // block_x
    blocks = volume[:, : n_y * block_y, : n_x * block_x].reshape(planes, n_y, block_y, n_x, block_x)
    shrunk = _SEEN_AS[product](blocks, axis=(2, 4))
    return np.rint(shrunk).astype(volume.dtype) if volume.dtype.kind == "u" else shrunk.astype(volume.dtype)
