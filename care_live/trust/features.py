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
_CONFIDENCE, _EFFICIENCY = 0.75, 0.37
"""With which that is no less than the true one; share of examples that a median deviation makes use of."""
_FEWEST = 4.0
_SIZES_DIFFER = 4
"""Largest over smallest volume, from where on the examples show how the distance depends on the size."""


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


def trained_on(examples: NDArray[np.float64], n_voxels: NDArray[np.int64]) -> DomainFeatures:
    """Describe the features of training: their mean, inverse covariance and the distance of unseen ones.

    The limit follows from the distance of each example from all others, as if it had not been seen: of a hundred
    volumes of the kind, about one lies beyond it. Odd examples, such as parts of an image with nothing in them, are
    left out: they would make everything look familiar. Few examples show less well how far others may be: the limit is
    wider.

    A small or shallow volume shows less of a specimen, and its features scatter more. So examples weigh as their
    voxels, and the limit grows as the examples' distances do where voxels are fewer.

    Parameters
    ----------
    examples : (n, k)
    n_voxels : (n,) of the raw volumes
    """
    away = _unseen(examples, n_voxels)
    usual = away <= _limits(away, n_voxels)
    examples, n_voxels = examples[usual], n_voxels[usual]
    away = _unseen(examples, n_voxels)
    return _fitted(examples, n_voxels).model_copy(
        update={
            "limit": float(_limits(away, n_voxels)[n_voxels.argmax()]),
            "n_voxels": int(n_voxels.max()),
            "growth": _growth(away, n_voxels),
        }
    )


def _unseen(examples: NDArray[np.float64], n_voxels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the distance of each example from all others."""
    others = [_fitted(np.delete(examples, at, 0), np.delete(n_voxels, at)) for at in range(len(examples))]
    away = [domain.distance(tuple(one), other) for one, other in zip(examples, others, strict=True)]
    return np.maximum(away, _FLOOR)


def _limits(away: NDArray[np.float64], n_voxels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return beyond what distance few of the usual examples of each size are."""
    less = -_growth(away, n_voxels) * np.log(n_voxels)
    logs = np.log(away) - less
    middle = float(np.median(logs))
    spread = float(np.median(np.abs(logs - middle))) / NormalDist().inv_cdf(0.75)
    return np.asarray(np.exp(middle + _deviations(len(away)) * spread + less))


def _deviations(n: int) -> float:
    """Return by how many measured standard deviations a limit lies above the median of n: few show them badly.

    References
    ----------
    Natrella, Experimental Statistics, NBS Handbook 91 (1963), 2-5: one-sided tolerance limits of a normal distribution.
    """
    n_alike = max(_EFFICIENCY * n, _FEWEST)
    sure = NormalDist().inv_cdf(_CONFIDENCE) ** 2
    a, b = 1 - sure / (2 * (n_alike - 1)), _ONE_IN_100**2 - sure / n_alike
    return (_ONE_IN_100 + math.sqrt(max(_ONE_IN_100**2 - a * b, 0.0))) / a


def _growth(away: NDArray[np.float64], n_voxels: NDArray[np.int64]) -> float:
    """Return by which power of the voxels distances fall; 0 where the sizes are too alike to say.

    More than 1/2, the power of independent samples, is chance.
    """
    sizes = np.log(n_voxels)
    if np.ptp(sizes) < math.log(_SIZES_DIFFER):
        return 0.0
    return float(np.clip(-np.polyfit(sizes, np.log(away), 1)[0], 0.0, 0.5))


def _fitted(examples: NDArray[np.float64], weights: NDArray[np.int64]) -> DomainFeatures:
    """Return mean and inverse covariance, shrunk towards its diagonal as far as the examples leave it open.

    References
    ----------
    Ledoit and Wolf, J. Multivariate Analysis 88, 365 (2004), with the diagonal as the target; weighted.
    """
    n, k = examples.shape
    shares = weights / weights.sum()
    mean = shares @ examples
    centred = examples - mean
    covariance = (centred.T * shares) @ centred
    off_diagonal = ~np.eye(k, dtype=bool)
    products = np.einsum("ni,nj->nij", centred, centred)
    spread = np.einsum("n,nij->ij", np.square(shares), np.square(products - covariance))
    chance = spread[off_diagonal].sum()
    apart = np.square(covariance[off_diagonal]).sum()
    shrinkage = min(1.0, float(chance / max(apart, 1e-12)))
    covariance[off_diagonal] *= 1 - shrinkage
    inverse = np.linalg.inv(covariance + np.eye(k) * _LEAST_SD**2)
    return DomainFeatures(
        mean=tuple(float(value) for value in mean),
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
