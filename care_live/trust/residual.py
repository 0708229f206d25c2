"""What a restoration leaves over of its raw volume, summed in small squares, which is exact for its variance, too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.camera import CameraModel

Array: TypeAlias = NDArray[np.float32]

BIN_PX = 2
"""Side of the squares of pixels that are summed first."""
_CLIP = 4.5
"""A square counts as at most so many standard deviations: a hot pixel is no structure."""
_PATTERN_CLIP = 2.0
"""Standard deviations of the dark noise: what is more in one plane is a structure and no pattern."""
_CEILINGS = frozenset({255, 4095, 16383, 65535})
"""Largest counts of cameras of 8, 12, 14 and 16 bits: a saturated pixel is a lower bound."""


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """A raw volume less what its restoration predicts, summed in squares of `BIN_PX` pixels."""

    residual: Array
    """(z, y, x) counts."""
    variance: Array
    """(z, y, x) counts², expected of camera noise."""
    by_pixel: Array
    """(y, x) counts: the mean over the planes, each pixel clipped; where the camera's pattern shows."""
    without: tuple[int, ...]
    """Planes that say nothing."""

    @property
    def n_planes(self) -> int:
        """That went into `by_pixel`."""
        return len(self.residual) - len(self.without)


def residual_of(
    raw: NDArray[Any], predicted: NDArray[Any], camera: CameraModel, *, without: Sequence[int] = ()
) -> Residual:
    """Subtract a prediction from raw counts, plane by plane, while a plane is in the processor's cache.

    Parameters
    ----------
    raw : (z, y, x) counts
    predicted : (z, y, x) expected counts
    without : planes that did not come; they say nothing
    """
    n_z, ny, nx = raw.shape
    shape = (n_z, -(-ny // BIN_PX), -(-nx // BIN_PX))
    residual, expected = np.zeros(shape, np.float32), np.empty(shape, np.float32)
    pattern, learns = camera.pattern_for((ny, nx)), camera.pattern is None
    noisy = np.flatnonzero(np.isnan(pattern)) if pattern is not None else np.empty(0, np.intp)
    by_pixel = np.zeros((ny, nx), np.float32)
    most = np.float32(_PATTERN_CLIP * math.sqrt(camera.dark_variance))
    brightest = int(raw.max())
    ceiling = brightest if brightest in _CEILINGS else None
    for z in range(n_z):
        expected[z] = _binned(predicted[z])
        if z in without:
            continue
        left = np.subtract(raw[z], predicted[z], dtype=np.float32)
        if pattern is not None:
            left -= pattern
            left.reshape(-1)[noisy] = 0
        if ceiling is not None:
            left[raw[z] == ceiling] = 0
        residual[z] = _binned(left)
        if learns:
            by_pixel += np.clip(left, -most, most, out=left)
    by_pixel /= np.float32(max(n_z - len(without), 1))
    area = np.float32(BIN_PX**2)
    variance = camera.variance(expected / area)
    variance *= area
    most_binned = np.sqrt(variance) * np.float32(_CLIP)
    np.clip(residual, -most_binned, most_binned, out=residual)
    return Residual(residual, variance, by_pixel, tuple(without))


def without_pattern(left: Residual, pattern: Array) -> Residual:
    """Take a camera's pattern, (y, x) counts, out of a residual that still has it."""
    corrected = left.residual - _binned(pattern)
    corrected[list(left.without)] = 0
    return replace(left, residual=corrected)


def coarser(volume: Array, factor: int) -> Array:
    """Sum squares of ``factor`` squares a side; 1 leaves them as they are."""
    if factor == 1:
        return volume
    return np.stack([_binned(plane) for plane in volume])


def _binned(plane: Array) -> Array:
    """Sum squares of pixels, (y, x); those at the edge may be narrower."""
    ny, nx = plane.shape
    if ny % BIN_PX or nx % BIN_PX:
        plane = np.pad(plane, ((0, -ny % BIN_PX), (0, -nx % BIN_PX)))
    rows = plane[::BIN_PX] + plane[1::BIN_PX]
    return np.asarray(rows[:, ::BIN_PX] + rows[:, 1::BIN_PX])
