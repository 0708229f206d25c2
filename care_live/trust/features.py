"""Features of a restored volume, pooled to a dozen numbers: which structures it has, and how sure the network is.

Taken from the restored volume, where noise is no more, in units of the normalised range, so that gain and offset of a
camera do not matter; from sums of pixels that the evidence test has made anyway.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.model.card import DomainFeatures
from care_live.trust import domain

Array: TypeAlias = NDArray[np.float32]

_QUANTILES = (0.5, 0.9, 0.99, 0.999)
_FLOOR = 1e-4
_LEAST_SD = 0.05
"""Of a feature: less is chance."""
_ONE_IN_100 = 2.5
"""Standard deviations of the logarithm of the distance, from its median."""


def features_of(signal: Array, laplace_scale: Array | None, width: float, *, has_z: bool = True) -> tuple[float, ...]:
    """Return the features of one volume.

    Parameters
    ----------
    signal : (z, y, x) restored, normalised: 0 at the low percentile, 1 at the high one
    laplace_scale : (z, y, x) counts; None: the network gives none
    width : counts from 0 to 1
    has_z : the network reads stacks; one of planes restores stacks, too, and learns from planes what these are like
    """
    bands = [*_lateral(signal), *([_axial(signal)] if has_z else [])]
    levels = np.arcsinh(np.quantile(signal[:, ::2, ::2], _QUANTILES) * 2)
    sure = [] if laplace_scale is None else [_log(float(laplace_scale[:, ::4, ::4].mean()) / max(width, 1e-6))]
    return tuple(round(float(value), 5) for value in (*bands, *levels, *sure))


def trained_on(examples: NDArray[np.float64]) -> DomainFeatures:
    """Describe the features of training, (n, k): their mean, inverse covariance and the distance of unseen ones.

    The limit follows from the distance of each example from all others, as if it had not been seen: of a hundred
    volumes of the kind, about one lies beyond it. Odd examples, such as parts of an image with nothing in them, are
    left out: they would make everything look familiar.
    """
    away, limit = _unseen(examples)
    usual = examples[away <= limit]
    _, limit = _unseen(usual)
    return _fitted(usual).model_copy(update={"limit": limit})


def _unseen(examples: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the distance of each example from all others, and what few of the usual ones are beyond."""
    others = [_fitted(np.delete(examples, place, 0)) for place in range(len(examples))]
    away = np.array([domain.distance(tuple(one), other) for one, other in zip(examples, others, strict=True)])
    logs = np.log(np.maximum(away, _FLOOR))
    middle = float(np.median(logs))
    spread = float(np.median(np.abs(logs - middle))) / NormalDist().inv_cdf(0.75)
    return away, math.exp(middle + _ONE_IN_100 * spread)


def _fitted(examples: NDArray[np.float64]) -> DomainFeatures:
    """Return mean and inverse covariance, shrunk towards its diagonal as far as the examples leave it open.

    References
    ----------
    Ledoit and Wolf, J. Multivariate Analysis 88, 365 (2004), with the diagonal as the target.
    """
    n, k = examples.shape
    centred = examples - examples.mean(axis=0)
    covariance = centred.T @ centred / n
    off_diagonal = ~np.eye(k, dtype=bool)
    products = np.einsum("ni,nj->nij", centred, centred)
    chance = np.square(products - covariance).sum(axis=0)[off_diagonal].sum() / n**2
    apart = np.square(covariance[off_diagonal]).sum()
    shrinkage = min(1.0, float(chance / max(apart, 1e-12)))
    covariance[off_diagonal] *= 1 - shrinkage
    inverse = np.linalg.inv(covariance + np.eye(k) * _LEAST_SD**2)
    return DomainFeatures(
        mean=tuple(float(value) for value in examples.mean(axis=0)),
        inverse_covariance=tuple(float(value) for value in inverse.ravel()),
        limit=0.0,
        n_volumes=n,
    )


def _lateral(signal: Array) -> list[float]:
    """Return the log of the contrast within planes at sizes that double."""
    found: list[float] = []
    level = signal
    for _ in range(4):
        if min(level.shape[1:]) < 4:
            found.append(found[-1] if found else _log(0.0))
            continue
        coarse = _halved(level)
        detail = level[:, : 2 * coarse.shape[1] : 2, : 2 * coarse.shape[2] : 2] - coarse
        found.append(_log(float(detail.std())))
        level = coarse
    return found


def _axial(signal: Array) -> float:
    """Return the log of the contrast from plane to plane."""
    axial = np.diff(_halved(signal), axis=0)
    return _log(float(axial.std()) if axial.size else 0.0)


def _halved(volume: Array) -> Array:
    ny, nx = (2 * (size // 2) for size in volume.shape[1:])
    rows = volume[:, 0:ny:2] + volume[:, 1:ny:2]
    return np.asarray((rows[:, :, 0:nx:2] + rows[:, :, 1:nx:2]) * np.float32(0.25))


def _log(value: float) -> float:
    return float(np.log(max(value, _FLOOR)))
