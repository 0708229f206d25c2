"""Restorations that lie on purpose, for the demo of the trust light: a nucleus that is not there, one that is gone."""

from __future__ import annotations

import itertools
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]
Region: TypeAlias = tuple[slice, ...]

_SIGMA_PX = (1.5, 3.0, 3.0)
_REACH_PX = (4, 9, 9)
_FALSE_PEAK = 0.7
"""Of the range."""


def lie(mean: Array, t: int, counts: float) -> None:
    """Change a restored volume (z, y, x) in place: at time point 1 a nucleus is added, at time point 2 one is erased.

    Parameters
    ----------
    counts : the intensity range, from its low to its high percentile
    """
    if t == 1:
        box = mean[_emptiest(mean)]
        box += np.float32(_FALSE_PEAK * counts) * _bump(box.shape, 1.0)
    elif t == 2:
        box = mean[_loneliest(mean, counts)]
        around = np.float32(np.quantile(box, 0.1))
        box -= np.maximum(box - around, 0) * _bump(box.shape, 2.0)


def _emptiest(mean: Array) -> Region:
    """Return the box whose brightest voxel is darkest."""
    return min(_boxes(mean), key=lambda box: float(mean[box].max()))


def _loneliest(mean: Array, counts: float) -> Region:
    """Return the box around a bright voxel whose sides are darkest: a nucleus that lies in it whole."""

    def stands_out(box: Region) -> float:
        inside = mean[box]
        dark = float(inside.min())
        sides = [inside[0], inside[-1], inside[:, 0], inside[:, -1], inside[:, :, 0], inside[:, :, -1]]
        middle = min(float(inside.max()) - dark, 2 * counts)
        return middle - (max(float(side.max()) for side in sides) - dark)

    return max((_around_brightest(mean, box) for box in _boxes(mean)), key=stands_out)


def _around_brightest(mean: Array, box: Region) -> Region:
    """Return a box of the same size around the brightest voxel of this one, moved into the volume."""
    brightest = np.unravel_index(int(mean[box].argmax()), mean[box].shape)
    moved = []
    for side, at, n in zip(box, brightest, mean.shape, strict=True):
        length = side.stop - side.start
        first = min(max(side.start + int(at) - length // 2, 0), n - length)
        moved.append(slice(first, first + length))
    return tuple(moved)


def _boxes(mean: Array) -> list[Region]:
    """Return boxes all over the volume, each half over the next."""
    sides = []
    for reach, n in zip(_REACH_PX, mean.shape, strict=True):
        length = min(2 * reach + 1, n)
        sides.append([slice(first, first + length) for first in range(0, n - length + 1, max(length // 2, 1))])
    return list(itertools.product(*sides))


def _bump(shape: tuple[int, ...], flatness: float) -> Array:
    """Return 1 in the middle and less around it; the flatter, the longer it stays near 1."""
    axes = [((np.arange(n) - n // 2) / sigma) ** 2 for n, sigma in zip(shape, _SIGMA_PX, strict=True)]
    away = axes[0][:, None, None] + axes[1][:, None] + axes[2]
    return np.exp(-0.5 * (away / flatness**2) ** flatness).astype(np.float32)
