"""Reliability: what a mean and a Laplace scale promise, how an ensemble disagrees, and whether it holds.

In numpy: the training room calibrates with it, and what graphs say of a mixture is checked against it. Scales and
means may be in camera counts or normalised, as long as they are in the same unit.
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
"""Masses of the central intervals that are checked and mended."""
N_NODES = 24
REACH = 30.0


def mixture_mean(means: Array) -> Array:
    """Return the mean of the mixture of M members with equal weight; means is (M, …)."""
    return np.asarray(np.mean(means, axis=0))


def mixture_scale(means: Array, scales: Array) -> Array:
    """Return the scale of the single Laplace distribution that is closest to a mixture.

    Around the mixture's mean, KL(mixture ‖ Laplace) is smallest where the scale is the mixture's mean
    absolute deviation, and that has a closed form: Σ (|d| + b·exp(−|d|/b)) / M with d = μ − mean.
    """
    away = np.abs(means - mixture_mean(means))
    return np.asarray(np.mean(away + scales * np.exp(-away / scales), axis=0))


def disagreement(means: Array, scales: Array) -> Array:
    """Return how much the members contradict each other, in [0, 1].

    Parameters
    ----------
    means, scales : (M, …) of at least two members

    Notes
    -----
    D = (H(p̄) − (1/M) Σ H(p_m)) / log M. The mixture's entropy is integrated between break points at every
    mean and halfway between neighbours, with nodes that crowd near the means.

    References
    ----------
    Weigert et al., Nature Methods 15, 1090 (2018).
    """
    n_members = len(means)
    own = np.mean(1 + np.log(2 * scales), axis=0)
    return np.asarray(np.clip((mixture_entropy(means, scales) - own) / math.log(n_members), 0.0, 1.0))


def mixture_entropy(means: Array, scales: Array) -> Array:
    """Return the entropy of a mixture of Laplace distributions, nats; arguments are (M, …)."""
    means, scales = np.asarray(means, np.float64), np.asarray(scales, np.float64)
    ordered, finest = np.sort(means, axis=0), scales.min(axis=0)
    outside = REACH * scales.max(axis=0)[None]
    gaps = np.diff(ordered, axis=0) / 2
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    entropy = np.zeros(means.shape[1:])
    for side, lengths in ((1, np.concatenate([gaps, outside])), (-1, np.concatenate([outside, gaps]))):
        stretch = np.log1p(lengths / finest)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            grown = finest * np.exp(node * stretch)
            surprise = _surprise(ordered + side * (grown - finest), means, scales)
            entropy += weight * np.sum(stretch * grown * surprise, axis=0)
    return entropy


def _surprise(places: Array, means: Array, scales: Array) -> Array:
    """Return −p̄ log p̄ at (pieces, …) places."""
    density = np.zeros_like(places)
    for mean, scale in zip(means, scales, strict=True):
        density += np.exp(-np.abs(places - mean) / scale) / (2 * scale * len(means))
    return -density * np.log(np.maximum(density, 1e-300))


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
    from nominal to mended widths is monotone.
    """
    ratios = np.abs(errors).ravel() / laplace_scale.ravel()
    mended = np.quantile(ratios, levels)
    factors = tuple(float(width / -math.log1p(-q)) for width, q in zip(mended, levels, strict=True))
    before = coverage(errors, laplace_scale, levels)
    return Calibration(levels=tuple(levels), factors=factors, observed_before=before)
