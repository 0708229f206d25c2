"""Fewer mantissa bits for restored volumes: what is below the network's own error only fills the disk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MANTISSA_BITS = 23


def keep_mantissa_bits(pixels: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Round float32 to `bits` mantissa bits, ties to even; the relative error is at most 2**-(bits+1).

    Parameters
    ----------
    pixels : (z, y, x) float32
    bits : int
        4 to 23 (exact).
    """
    drop = _MANTISSA_BITS - bits
    if drop == 0:
        return np.ascontiguousarray(pixels)
    rounded = np.array(pixels, dtype=np.float32, order="C")
    carry = np.empty(rounded.shape[1:], np.uint32)
    for plane in rounded:  # one plane fits the cache, a volume does not
        nan = np.isnan(plane) if np.isnan(plane.min()) else None  # min passes NaN on, and is quick
        words = plane.view(np.uint32)
        np.right_shift(words, np.uint32(drop), out=carry)
        carry &= np.uint32(1)
        carry += np.uint32((1 << (drop - 1)) - 1)
        words += carry
        words &= np.uint32((0xFFFFFFFF << drop) & 0xFFFFFFFF)
        if nan is not None:
            plane[nan] = np.nan  # the carry may have run into the sign
    return rounded
