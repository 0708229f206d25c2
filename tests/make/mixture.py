"""An ensemble as a mixture of Laplace distributions, in numpy: what the graphs of an export are compared with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

N_NODES = 24
REACH = 30.0

DISAGREEMENTS = [
    ([0.0] * 5, [1.0] * 5, 0.0),
    ([0.0, 0.0], [1.0, 0.3], 0.2005),
    ([0.0, 0.0], [1.0, 0.1], 0.4971),
    ([0.0, 0.0], [1.0, 0.05], 0.6524),
    ([0.0, 0.0], [1.0, 0.02], 0.7998),
    ([0.0, 0.2, 0.3, 0.5, 1.0], [0.05, 0.06, 0.05, 0.4, 0.05], 0.6307),
    ([0.0, 100.0], [1.0, 1.0], 1.0),
]
"""Means, scales and the disagreement that follows from them, to four digits."""


def mean_of(means: Array) -> Array:
    """Return the mean of the mixture of M members with equal weight; means is (M, …)."""
    return np.asarray(np.mean(means, axis=0))


def scale_of(means: Array, scales: Array) -> Array:
    """Return the scale of the single Laplace distribution that is closest to a mixture.

    Around the mixture's mean, KL(mixture ‖ Laplace) is smallest where the scale is the mixture's mean
    absolute deviation, and that has a closed form: Σ (|d| + b·exp(−|d|/b)) / M with d = μ − mean.
    """
    away = np.abs(means - mean_of(means))
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
    return np.asarray(np.clip((entropy_of(means, scales) - own) / math.log(n_members), 0.0, 1.0))


def entropy_of(means: Array, scales: Array) -> Array:
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
