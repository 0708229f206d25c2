"""Fewer mantissa bits for restored volumes: what is below the network's own error only fills the disk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MANTISSA_BITS = 23


def keep_mantissa_bits(pixels: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Round float32 to so many mantissa bits, ties to even; the relative error is at most 2**-(bits+1).

    Parameters
    ----------
    pixels : (z, y, x) float32
    bits : int
        4 to 23 (exact).
    """
    drop = _MANTISSA_BITS - bits
    if drop == 0:
        return np.ascontiguousarray(pixels)
    words = np.array(pixels, dtype=np.float32, order="C").view(np.uint32)
    half_minus_one = np.uint32((1 << (drop - 1)) - 1)
    finite = (words & np.uint32(0x7F800000)) != np.uint32(0x7F800000)
    words += (half_minus_one + ((words >> np.uint32(drop)) & np.uint32(1))) * finite
    words &= np.where(finite, np.uint32((0xFFFFFFFF << drop) & 0xFFFFFFFF), np.uint32(0xFFFFFFFF))
    return words.view(np.float32)
