"""What a restoration leaves over of its raw volume, weighted by the noise of each pixel and summed in small squares.

A count says the more, the less noise its pixel has: residuals are divided by their variance, which makes the smoothed
sum the most sensitive there is to a structure of the kernel's shape (a matched filter in noise that differs).

References
----------
Turin, An introduction to matched filters, IRE Trans. Inf. Theory 6, 311 (1960).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.camera import CameraModel
from care_live.trust.saturation import ceiling_of

Array: TypeAlias = NDArray[np.float32]

BIN_PX = 2
"""Side of the squares of pixels that are summed first."""
_CLIP = 4.5
"""A square counts as at most this many standard deviations: a hot pixel is no structure."""
_PATTERN_CLIP, _NOISE_CLIP = 2.0, 6.0
"""Standard deviations of the dark noise: what is more in one plane is a structure and no pattern, and no noise."""
_CEILING_SDS = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """A raw volume less what its restoration predicts, in squares of `BIN_PX` pixels; all (z, y, x)."""

    weighted: Array
    """Σ (raw − predicted) / variance, 1/counts."""
    weight: Array
    """Σ 1 / variance, 1/counts²: the variance of `weighted` where camera noise is all."""
    signal: Array
    """Predicted counts above the offset, mean of a pixel."""
    without: tuple[int, ...]
    """Planes that say nothing."""
    untoned: Array | None = None
    """`weighted` before what each brightness is off by was taken out (`care_live.trust.levels`); None: nothing was."""


@dataclass(frozen=True, slots=True, eq=False)
class PixelSums:
    """What is left of each pixel, summed over planes; a plane counts the less, the brighter the pixel is there.

    All (y, x). The weight of a plane without light is 1.
    """

    residual: Array
    """Σ weight · residual, counts, each plane clipped."""
    weight: Array
    square: Array
    """Σ weight² · (residual² − shot noise), counts²."""
    square_weight: Array
    """Σ weight²."""

    def plus(self, other: PixelSums, *, keep: float = 1.0) -> PixelSums:
        """Add the sums of other planes; of these, keep a share."""
        share = np.float32(keep)
        return PixelSums(
            self.residual * share + other.residual,
            self.weight * share + other.weight,
            self.square * share + other.square,
            self.square_weight * share + other.square_weight,
        )


def residual_of(
    raw: NDArray[Any], predicted: NDArray[Any], camera: CameraModel, *, without: Sequence[int] = ()
) -> Residual:
    """Subtract a prediction from raw counts, plane by plane, while a plane is in the processor's cache.

    Parameters
    ----------
    raw : (z, y, x) counts
    predicted : (z, y, x) expected counts
    camera : `CameraModel.fitted` to the field
    without : planes that did not come; they say nothing
    """
    n_z, ny, nx = raw.shape
    shape = (n_z, -(-ny // BIN_PX), -(-nx // BIN_PX))
    weighted, weight, signal = (np.zeros(shape, np.float32) for _ in range(3))
    unusable = np.flatnonzero(np.isnan(camera.pattern)) if camera.pattern is not None else np.empty(0, np.intp)
    pattern = None if camera.pattern is None else np.nan_to_num(camera.pattern)
    ceiling = ceiling_of(raw)
    for z in range(n_z):
        precision = _precision(predicted[z], camera)
        precision.reshape(-1)[unusable] = 0
        if ceiling is not None:
            precision[_near_ceiling(raw[z], predicted[z], precision, ceiling)] = 0
        weight[z], signal[z] = _binned(precision), _binned(predicted[z])
        if z not in without:
            left = np.subtract(raw[z], predicted[z], dtype=np.float32)
            if pattern is not None:
                left -= pattern
            left *= precision
            weighted[z] = _binned(left)
    most = np.sqrt(weight)
    most *= np.float32(_CLIP)
    np.clip(weighted, -most, most, out=weighted)
    signal *= np.float32(1 / BIN_PX**2)
    signal -= np.float32(camera.offset)
    np.maximum(signal, 0, out=signal)
    return Residual(weighted, weight, signal, tuple(without))


def pixel_sums(raw: NDArray[Any], predicted: NDArray[Any], camera: CameraModel) -> PixelSums:
    """Sum over planes what is left of each pixel, less the pattern that the camera has already."""
    sums = PixelSums(*(np.zeros(raw.shape[1:], np.float32) for _ in range(4)))
    dark = np.float32(camera.dark_variance)
    pattern = None if camera.pattern is None else np.nan_to_num(camera.pattern)
    most, noisiest = _PATTERN_CLIP * np.sqrt(dark), _NOISE_CLIP * np.sqrt(dark)
    for z in range(len(raw)):
        left = np.subtract(raw[z], predicted[z], dtype=np.float32)
        if pattern is not None:
            left -= pattern
        shot = np.maximum(predicted[z] - np.float32(camera.offset), 0)
        shot *= np.float32(camera.gain)
        weight = dark / (shot + dark)
        np.clip(left, -noisiest, noisiest, out=left)
        square = left * left
        square -= shot
        np.clip(left, -most, most, out=left)
        left *= weight
        sums.residual[...] += left
        sums.weight[...] += weight
        weight *= weight
        square *= weight
        sums.square[...] += square
        sums.square_weight[...] += weight
    return sums


def less(left: Residual, excess: Array | np.float32) -> Residual:
    """Take counts that are no structure, by square or by plane, out of a residual."""
    corrected = left.weighted - left.weight * excess
    corrected[list(left.without)] = 0
    return replace(left, weighted=corrected)


def coarser(volume: Array, factor: int) -> Array:
    """Sum squares of ``factor`` squares a side; 1 leaves them as they are."""
    if factor == 1:
        return volume
    return np.stack([_binned(plane) for plane in volume])


def _near_ceiling(raw: NDArray[Any], predicted: Array, precision: Array, ceiling: int) -> NDArray[np.bool_]:
    """Return which pixels of a plane are saturated, or would be with a little more noise: the others there are dark."""
    below = np.maximum(ceiling - predicted, 0)
    return np.asarray((raw == ceiling) | (below * below * precision < _CEILING_SDS**2))


def _precision(predicted: NDArray[Any], camera: CameraModel) -> Array:
    """Return 1 / variance of each pixel of a plane."""
    variance = np.maximum(predicted, np.float32(camera.offset))
    variance -= np.float32(camera.offset)
    variance *= np.float32(camera.gain)
    variance += np.float32(camera.dark_variance) if camera.dark_noise is None else camera.dark_noise
    return np.asarray(np.reciprocal(variance, out=variance), np.float32)


def _binned(plane: Array) -> Array:
    """Sum squares of pixels, (y, x); those at the edge may be narrower."""
    ny, nx = plane.shape
    if ny % BIN_PX or nx % BIN_PX:
        plane = np.pad(plane, ((0, -ny % BIN_PX), (0, -nx % BIN_PX)))
    rows = plane[::BIN_PX] + plane[1::BIN_PX]
    return np.asarray(rows[:, ::BIN_PX] + rows[:, 1::BIN_PX])
