"""Weights in 8 bits, rounded so that errors cancel: what a convolution makes of a smooth image is kept.

Rounding every weight to the nearest code leaves each kernel with a sum that is a little off, and images are smooth:
all taps of a kernel read nearly the same value, so errors add up. Here a few weights go to the code on their other
side, those that lie nearest to the middle. They are as many as make the sum of every kernel right to half a code, and
then the sum of all kernels of an output channel.

References
----------
Guo et al., SQuant: on-the-fly data-free quantization via diagonal Hessian approximation, ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_CODES = 127
_SMALLEST = 1e-12
"""Largest weight of a channel that is all zero, so that nothing is divided by zero."""


def in_codes(weight: Array, strides: Sequence[int]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return codes and the step of every output channel: ``weight ≈ codes · step``.

    Parameters
    ----------
    weight : (c_out, c_in, *kernel)
    strides : of a transposed convolution, whose taps reach an output pixel by turns; ones for a plain one
    """
    c_out = len(weight)
    steps = np.maximum(np.abs(weight).reshape(c_out, -1).max(axis=1), _SMALLEST) / _CODES
    exact = weight / steps.reshape(-1, *(1,) * (weight.ndim - 1))
    codes = np.empty(weight.shape, np.int8)
    for phase in np.ndindex(*strides):
        taps: tuple[Any, ...] = (..., *(slice(first, None, step) for first, step in zip(phase, strides, strict=True)))
        part = exact[taps]
        codes[taps] = _rounded(part.reshape(*part.shape[:2], -1)).reshape(part.shape)
    return codes, steps.astype(np.float32)


def _rounded(exact: Array) -> Array:
    """Return whole numbers near those of (c_out, c_in, taps), whose sums over taps, and over all, are near, too."""
    codes = np.rint(exact)
    codes = _flipped(codes, exact, np.rint((codes - exact).sum(axis=2)))
    surplus = (codes - exact).sum(axis=2)
    kernels = _chosen(surplus, np.rint(surplus.sum(axis=1)))
    return np.clip(_flipped(codes, exact, kernels), -_CODES, _CODES)


def _flipped(codes: Array, exact: Array, surplus: Array) -> Array:
    """Take a surplus (c_out, c_in) away from the kernels, one code each from those that are furthest above."""
    return codes - _chosen(codes - exact, surplus)


def _chosen(errors: Array, surplus: Array) -> Array:
    """Return ±1 where errors are largest in the direction of the surplus, that many along the last axis."""
    direction = np.sign(surplus)[..., None]
    order = np.argsort(np.argsort(-errors * direction, axis=-1, kind="stable"), axis=-1)
    return direction * (order < np.abs(surplus)[..., None])
