"""Coarser levels of a volume, made when someone looks: only level 0 is on the disk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def coarser(pixels: NDArray[Any], level: int) -> NDArray[Any]:
    """Halve y and x `level` times by averaging; an odd last row or column is averaged with itself.

    Parameters
    ----------
    pixels : (z, y, x)
    level : int
        0 returns `pixels`.

    Returns
    -------
    (z, ceil(y / 2**level), ceil(x / 2**level)), same dtype
    """
    for _ in range(level):
        even = np.pad(pixels, ((0, 0), (0, pixels.shape[1] % 2), (0, pixels.shape[2] % 2)), mode="edge")
        sums = even[:, ::2, ::2].astype(np.float32)
        for y, x in ((0, 1), (1, 0), (1, 1)):
            sums += even[:, y::2, x::2]
        mean = sums / 4
        pixels = (np.rint(mean) if pixels.dtype.kind == "u" else mean).astype(pixels.dtype)
    return pixels
