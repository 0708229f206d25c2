"""The evidence test: what is left of a raw volume once its restoration is taken away must be camera noise alone.

::

    z = K*(raw − predicted) / sqrt(K²*var + pattern)

K is a Gaussian of sum 1, var the camera's noise variance at the predicted counts. Pixels are summed in squares first,
which is exact for residual and variance alike and makes everything behind it cheap. A bright z is *missing* from the
restoration, a dark one was *invented*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.model.card import EvidenceLimits
from care_live.trust.camera import CameraModel
from care_live.trust.smooth import smooth, sums_of_squares
from care_live.verdict import MAX_DOUBTS, Doubt

Array: TypeAlias = NDArray[np.float32]

BIN_PX = 2
"""Side of the squares of pixels that are summed first."""
SCALES_PX: tuple[tuple[float, float, float], ...] = ((1.0, 1.5, 1.5), (1.5, 2.5, 2.5), (2.0, 4.0, 4.0))
"""Standard deviations (z, y, x) of the Gaussians, raw voxels, finest first."""
_BINS_PX = (2, 2, 4)
"""Side of the squares that each scale is smoothed on: a wide Gaussian needs no fine grid."""
_CLIP = 8.0
"""A single pixel counts as at most so many standard deviations: a hot one is no structure."""
_RELEVANT = 0.1
"""A contradiction smaller than this share of the local signal is an error of intensity, not of structure."""
_LEAST_THRESHOLD = 5.0
_MOST_CANDIDATES = 4096
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


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The standardised residual of one volume."""

    maps: tuple[Array, ...]
    """One for each scale, (z, y, x) on its grid of squares; positive: missing, negative: invented."""
    sd: tuple[float, ...]
    share: float
    """Of the squares that are beyond the limits, at the scale where most are."""
    doubts: tuple[Doubt, ...]
    """Places in raw voxels."""
    worst: tuple[tuple[float, float], ...]
    """(invented, missing) at each scale: the largest residual that is beyond the limits, less what is mere error of
    intensity; 0 where there is none."""


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
    residual, variances = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    by_pixel = np.zeros((ny, nx), np.float32)
    pattern = camera.pattern_for((ny, nx))
    brightest = int(raw.max())
    ceiling = brightest if brightest in _CEILINGS else None
    for z in range(n_z):
        variance = camera.variance(predicted[z])
        variances[z] = _binned(variance)
        if z in without:
            continue
        left = np.subtract(raw[z], predicted[z], dtype=np.float32)
        if pattern is not None:
            left -= pattern
        if ceiling is not None:
            left[raw[z] == ceiling] = 0
        most = np.sqrt(variance) * np.float32(_CLIP)
        np.clip(left, -most, most, out=left)
        residual[z] = _binned(left)
        by_pixel += np.clip(left, most * np.float32(-0.2), most * np.float32(0.2))
    by_pixel /= np.float32(max(n_z - len(without), 1))
    return Residual(residual, variances, by_pixel, tuple(without))


def examine(left: Residual, camera: CameraModel, limits: EvidenceLimits, *, is_projection: bool = False) -> Evidence:
    """Smooth and standardise a residual at every scale, and list the places above the limits.

    With a projection every plane has been compared with the same one: what the plane that is nearest to it lacks was
    invented, and missing structure cannot be distinguished from what was left out on purpose.
    """
    maps: list[Array] = []
    doubts: list[Doubt] = []
    found: list[_Alarms] = []
    for scale, bin_px, *thresholds in zip(SCALES_PX, _BINS_PX, limits.invented, limits.missing, strict=True):
        along_z = 0.0 if is_projection or len(left.residual) == 1 else scale[0]
        grid = _Grid(left, bin_px, (along_z, scale[1] / bin_px, scale[2] / bin_px))
        z = grid.standardised(camera)
        if is_projection:
            z = np.minimum(z.max(axis=0, keepdims=True), 0)
        alarms = _alarms(z, grid, camera, thresholds=(thresholds[0], thresholds[1]), allowance=limits.allowance)
        doubts += _peaks(z, alarms.where, np.array(scale) / (1, bin_px, bin_px), bin_px=bin_px)
        found.append(alarms)
        maps.append(z)
    return Evidence(
        maps=tuple(maps),
        sd=tuple(float(z.std()) for z in maps),
        share=max(float(alarms.where.mean()) for alarms in found),
        doubts=_apart(doubts),
        worst=tuple(alarms.worst for alarms in found),
    )


def without_pattern(left: Residual, pattern: Array) -> Residual:
    """Take a camera's pattern, (y, x) counts, out of a residual that still has it."""
    corrected = left.residual - _binned(pattern)
    corrected[list(left.without)] = 0
    return replace(left, residual=corrected)


class _Grid:
    """A residual on squares of one size, and the Gaussian that smooths it there."""

    def __init__(self, left: Residual, bin_px: int, sigma: tuple[float, float, float]) -> None:
        self.residual, self.variance = (_coarser(array, bin_px // BIN_PX) for array in (left.residual, left.variance))
        self.area, self.sigma = np.float32(bin_px**2), sigma
        self.smoothed = smooth(self.residual, sigma)

    def standardised(self, camera: CameraModel) -> Array:
        """Return z, (z, y, x)."""
        variance = smooth(self.variance, self.sigma, 2)
        if camera.pattern_sd:
            along_y, along_x = (
                sums_of_squares(n, width) for n, width in zip(variance.shape[1:], self.sigma[1:], strict=True)
            )
            variance += np.multiply.outer(along_y, along_x) * (self.area * np.float32(camera.pattern_sd**2))
        return np.asarray(self.smoothed / np.sqrt(variance), np.float32)

    def of_signal(self, camera: CameraModel) -> Array:
        """Return the smoothed residual as a share of the smoothed signal; of the variance, the signal is the rest."""
        signal = smooth(self.variance, self.sigma)
        signal -= np.float32(camera.dark_variance) * self.area
        signal *= np.float32(1 / camera.gain)
        share = np.abs(self.smoothed) / np.maximum(signal, np.float32(1e-6))
        return np.asarray(np.maximum(share, np.float32(1e-6)), np.float32)


class _Alarms(NamedTuple):
    where: NDArray[np.bool_]
    worst: tuple[float, float]
    """(invented, missing), as in `Evidence`."""


def _alarms(
    z: Array, grid: _Grid, camera: CameraModel, *, thresholds: tuple[float, float], allowance: float
) -> _Alarms:
    """Return where a residual is beyond its threshold and no mere error of intensity."""
    threshold = np.where(z < 0, np.float32(thresholds[0]), np.float32(thresholds[1]))
    where = np.abs(z) > threshold
    if not where.any():  # the rule: the signal need not be smoothed
        return _Alarms(where, (0.0, 0.0))
    of_signal = grid.of_signal(camera)
    if len(of_signal) != len(z):
        of_signal = of_signal.min(axis=0, keepdims=True)
    beyond = z * (1 - np.minimum(np.float32(allowance) / of_signal, 1))
    where = (np.abs(beyond) > threshold) & (of_signal > _RELEVANT)
    left = beyond[where]
    return _Alarms(where, (float(max(-left.min(initial=0), 0.0)), float(max(left.max(initial=0), 0.0))))


def _coarser(volume: Array, factor: int) -> Array:
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


def _peaks(z: Array, alarm: NDArray[np.bool_], width: NDArray[np.float64], *, bin_px: int) -> list[Doubt]:
    """Return the worst places of one scale, none in the neighbourhood of a worse one.

    Parameters
    ----------
    width : (z, y, x) standard deviation of the smoothing, in squares along y and x
    """
    places = np.argwhere(alarm)
    if not len(places):
        return []
    values = z[alarm]
    order = np.argsort(-np.abs(values))[:_MOST_CANDIDATES]
    places, values = places[order], values[order]
    found: list[Doubt] = []
    while len(places) and len(found) < MAX_DOUBTS:
        worst = places[0]
        found.append(_doubt(worst, float(values[0]), bin_px))
        kept = _distance(places, worst, width) > _reach(float(values[0]))
        places, values = places[kept], values[kept]
    return found


def _doubt(place: NDArray[np.intp], z: float, bin_px: int) -> Doubt:
    at = (int(place[0]), int(place[1]) * bin_px + bin_px // 2, int(place[2]) * bin_px + bin_px // 2)
    return Doubt("missing" if z > 0 else "invented", at, round(abs(z), 2))


def _distance(places: NDArray[Any], from_place: Any, width: Any) -> NDArray[np.float64]:
    """Return distances in smoothing widths, at least half a voxel along each axis."""
    return np.asarray(np.sqrt((((places - np.asarray(from_place)) / np.maximum(width, 0.5)) ** 2).sum(axis=-1)))


def _reach(z: float) -> float:
    """Return how far, in smoothing widths, one place stays visible: a Gaussian twice as wide, down to the threshold."""
    return 2.0 * max(1.0, math.sqrt(2 * max(math.log(abs(z) / _LEAST_THRESHOLD), 0.0)))


def _apart(doubts: Sequence[Doubt]) -> tuple[Doubt, ...]:
    """Merge what several scales saw of one place; the worst first."""
    width = np.array(SCALES_PX[-1])
    kept: list[Doubt] = []
    for doubt in sorted(doubts, key=lambda one: -one.sigmas):
        if all(_distance(np.array(doubt.place_px), one.place_px, width) > _reach(one.sigmas) for one in kept):
            kept.append(doubt)
    return tuple(kept[:MAX_DOUBTS])
