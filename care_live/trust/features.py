"""Features of a restored volume, pooled to a dozen numbers: which structures it has, and how sure the network is.

Taken from the restored volume, where noise is no more, in units of the normalised range, so that gain and offset of a
camera do not matter; from sums of pixels that the evidence test has made anyway.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.model.card import DomainFeatures
from care_live.trust import domain

Array: TypeAlias = NDArray[np.float32]

_QUANTILES = (0.5, 0.9, 0.99, 0.999)
_FLOOR = 1e-4
_MARGIN = 1.25
"""The limit lies so far above the largest distance of training, more where few volumes show their spread."""


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
    """Describe the features of training, (n, k): their mean, inverse covariance and largest distance.

    The covariance is shrunk towards its diagonal, the more the fewer the volumes.

    References
    ----------
    Ledoit and Wolf, J. Multivariate Analysis 88, 365 (2004), for why one shrinks.
    """
    n, k = examples.shape
    covariance = np.cov(examples, rowvar=False).reshape(k, k)
    shrinkage = min(1.0, k / max(n, 1))
    covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
    covariance += np.eye(k) * 0.05**2
    inverse = np.linalg.inv(covariance)
    fitted = DomainFeatures(
        mean=tuple(float(value) for value in examples.mean(axis=0)),
        inverse_covariance=tuple(float(value) for value in inverse.ravel()),
        limit=0.0,
        n_volumes=n,
    )
    largest = max(domain.distance(tuple(row), fitted) for row in examples)
    return fitted.model_copy(update={"limit": max(1.0, _MARGIN * largest * (1 + k / (2 * n)))})


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
