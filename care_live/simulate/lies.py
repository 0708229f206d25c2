"""Restorations that lie on purpose, for the demo of the trust light: a nucleus that is not there, one that is gone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIGMA_PX = (1.5, 2.5, 2.5)
_REACH_PX = (4, 7, 7)
_FALSE_PEAK = 0.4
"""Of the range."""


def lie(mean: NDArray[np.float32], t: int, counts: float) -> None:
    """Change a restored volume (z, y, x) in place: at time point 1 a nucleus is added, at time point 2 one is erased.

    Parameters
    ----------
    counts : the intensity range, from its low to its high percentile
    """
    if t == 1:
        place = _place(mean, darkest=True)
        mean[place] += np.float32(_FALSE_PEAK * counts) * _nucleus(mean[place].shape)
    elif t == 2:
        place = _place(mean, darkest=False)
        around = np.float32(np.quantile(mean[place], 0.1))
        mean[place] -= np.maximum(mean[place] - around, 0) * np.sqrt(_nucleus(mean[place].shape))


def _place(mean: NDArray[np.float32], *, darkest: bool) -> tuple[slice, ...]:
    """Return a box around the darkest, or the brightest, place that is no border."""
    sides = [(min(reach, (n - 1) // 2), n) for reach, n in zip(_REACH_PX, mean.shape, strict=True)]
    inside: Any = mean[tuple(slice(reach, n - reach) for reach, n in sides)]
    flat = int(inside.argmin() if darkest else inside.argmax())
    middle = np.unravel_index(flat, inside.shape)
    return tuple(slice(int(at), int(at) + 2 * reach + 1) for at, (reach, _) in zip(middle, sides, strict=True))


def _nucleus(shape: tuple[int, ...]) -> NDArray[np.float32]:
    axes = [np.exp(-0.5 * ((np.arange(n) - n // 2) / sigma) ** 2) for n, sigma in zip(shape, _SIGMA_PX, strict=True)]
    return np.asarray(axes[0][:, None, None] * axes[1][:, None] * axes[2], np.float32)
