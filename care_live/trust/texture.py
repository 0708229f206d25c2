"""What fine structures in bright places are off by: a texture that a network makes up everywhere, or smooths away.

Its grains may each be within the noise, and it covers most of a specimen: no place stands out. But the residual in
the specimen is larger than the camera's noise. The finest residual less the widest says so: what a network is off by
over wide places, which is an error of intensity, is not in it. In the dark the pixels' offsets would be.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.thresholds import FEWEST_SQUARES

Array: TypeAlias = NDArray[np.float32]

_MANY_SQUARES, _OF_FEW = 4096, 640.0
"""Lit squares from where on a limit is as the card says; by how much of variance it is more where they are few, times
their number: one structure that is off weighs the more there. With it 3 of 80 worms in small fields are beyond."""


class Smoothed(NamedTuple):
    """A residual at one scale; arrays (z, y, x), sampled every 4 pixels along y and x."""

    residual: Array
    """Of squares of 2 pixels."""
    noise: Array
    """Its standard deviation where the camera's noise is all."""
    sigma_px: tuple[float, float, float]


def texture_sd(finest: Smoothed, widest: Smoothed, is_lit: NDArray[np.bool_]) -> float:
    """Return the standard deviation of the finest residual less the widest, in units of noise; 0: too little is lit."""
    if np.count_nonzero(is_lit) < FEWEST_SQUARES:
        return 0.0
    variance = finest.noise**2 * np.float32(1 - 2 * _common(finest.sigma_px, widest.sigma_px)) + widest.noise**2
    band = (finest.residual - widest.residual) / np.sqrt(np.maximum(variance, np.float32(1e-12)))
    return float(band[is_lit].std())


def limit_of(n_lit: int, limit: float) -> float:
    """Return the limit for a volume with this number of lit squares of 4 pixels, from the one for a large volume."""
    return math.sqrt(limit**2 + _OF_FEW * max(1 / max(n_lit, 1) - 1 / _MANY_SQUARES, 0.0))


def _common(fine_px: tuple[float, float, float], wide_px: tuple[float, float, float]) -> float:
    """Return the covariance of noise under two Gaussians, as a share of the variance under the finer."""
    pairs = [(fine, wide) for fine, wide in zip(fine_px, wide_px, strict=True) if fine > 0]
    return math.prod(math.sqrt(2 * fine**2 / (fine**2 + wide**2)) for fine, wide in pairs)
