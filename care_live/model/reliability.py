"""Reliability: the intervals that a mean and a Laplace scale predict, and how often the truth lies in them.

Scales and means may be in camera counts or normalised, as long as they are in the same unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.model.card import Calibration

Array = NDArray[Any]

LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
"""Masses of the central intervals that are checked and corrected."""


def half_width_factor(level: float, calibration: Calibration | None = None) -> float:
    """Return half the width of the central interval of mass `level` for Laplace scale 1.

    The only place that has this formula: what is checked is what is drawn, on the page and in napari too. With a
    calibration the factor is interpolated between its levels, and held outside of them; the width never falls as the
    level rises.
    """
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, got {level}")
    width = -math.log1p(-level)
    if calibration is None or not calibration.levels:
        return width
    pairs = sorted(zip(calibration.levels, calibration.factors, strict=True))
    levels, factors = zip(*pairs, strict=True)
    mended = width * float(np.interp(level, levels, factors))
    below = [-math.log1p(-q) * factor for q, factor in pairs if q <= level]
    above = [-math.log1p(-q) * factor for q, factor in pairs if q >= level]
    return min(max([mended, *below]), *above) if above else max([mended, *below])


def coverage(
    errors: Array, laplace_scale: Array, levels: Sequence[float] = LEVELS, calibration: Calibration | None = None
) -> tuple[float, ...]:
    """Return the share of voxels whose error lies inside the central interval, for each level.

    Parameters
    ----------
    errors : truth − mean, any shape, in the unit of the scale
    """
    ratios = np.sort(np.abs(errors).ravel() / laplace_scale.ravel())
    widths = [half_width_factor(level, calibration) for level in levels]
    return tuple(float(share) for share in np.searchsorted(ratios, widths, side="right") / len(ratios))


def calibration_error(levels: Sequence[float], observed: Sequence[float]) -> float:
    """Return the expected calibration error: the mean distance of observed from nominal coverage."""
    return float(np.mean(np.abs(np.subtract(observed, levels))))


def negative_log_likelihood(errors: Array, laplace_scale: Array) -> float:
    """Return the mean of |error|/b + log 2b, nats per voxel."""
    return float(np.mean(np.abs(errors) / laplace_scale + np.log(2 * laplace_scale)))


def fit_calibration(errors: Array, laplace_scale: Array, levels: Sequence[float] = LEVELS) -> Calibration:
    """Return the factors that make the observed coverage of these voxels the nominal one.

    The half width of level q becomes the q-quantile of |error|/b, which rises with q by itself: the map
    from nominal to corrected widths is monotone.
    """
    ratios = np.abs(errors).ravel() / laplace_scale.ravel()
    mended = np.quantile(ratios, levels)
    factors = tuple(float(width / -math.log1p(-q)) for width, q in zip(mended, levels, strict=True))
    before = coverage(errors, laplace_scale, levels)
    return Calibration(levels=tuple(levels), factors=factors, observed_before=before)
