"""What noise alone exceeds, in one volume of a hundred."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.doubtful_places import LEAST_SIGMAS

Array: TypeAlias = NDArray[np.float32]

_ALARM_SHARE = 0.01 / (2 * 3)
"""Chance of a false alarm in one volume, by one scale of three and one sign."""
_MORE = (0.25, 0.4)
"""(invented, missing) standard deviations on top of a normal distribution's: neighbouring places are not quite alike,
so that there are more of them, and counts of few photons are skew, towards more. With both, the true image in the
place of the restoration is red in 6 of 400 volumes."""
_LEAST_SD = 0.7
FEWEST_SQUARES = 256
"""That show a standard deviation."""


def thresholds_of(n: int, sigma: tuple[float, float, float], noise_sd: float) -> tuple[float, float]:
    """Return what noise alone exceeds in one volume of 100, from the number of independent places in n squares.

    Parameters
    ----------
    noise_sd : of z: a camera that is noisier than thought is no reason for an alarm, and a pattern that was learnt from
        this volume takes noise away with it
    """
    area = math.prod(max(2 * math.sqrt(math.pi) * width, 1.0) for width in sigma)
    normal = NormalDist().inv_cdf(1 - min(_ALARM_SHARE * area / max(n, 1), 0.1))
    return tuple(max(normal + more, LEAST_SIGMAS) * noise_sd for more in _MORE)  # type: ignore[return-value]


def noise_sd(z: Array, is_lit: NDArray[np.bool_]) -> float:
    """Return the standard deviation of z where light makes the noise, or where the camera does: the larger, or 0.7.

    A network takes a part of a camera's pattern for light in the dark, and hardly any in a bright specimen.
    """
    found = []
    if len(z) == len(is_lit):  # it is no projection
        wide = (z if z.shape == is_lit.shape else z[:, ::2, ::2]).ravel()
        lit = is_lit.ravel().astype(np.float32)
        found = [_deviation_in(wide, part) for part in (lit, 1 - lit) if part.sum() > FEWEST_SQUARES]
    return max(_LEAST_SD, *(found or [deviation(z)]))


def _deviation_in(flat: Array, part: Array) -> float:
    """Return the standard deviation of the values of which `part` is 1, and not 0."""
    n, of_part = float(part.sum()), flat * part
    return math.sqrt(max(float(np.dot(of_part, flat)) / n - (float(of_part.sum()) / n) ** 2, 0.0))


def deviation(z: Array) -> float:
    """Return the standard deviation in one pass."""
    flat = z.reshape(-1)
    return math.sqrt(max(float(np.dot(flat, flat)) / len(flat) - float(flat.mean()) ** 2, 0.0))
