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
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.model.card import EvidenceLimits
from care_live.trust.camera import CameraModel
from care_live.trust.residual import BIN_PX, Residual, coarser
from care_live.trust.smooth import smooth, sums_of_squares
from care_live.verdict import MAX_DOUBTS, Doubt

Array: TypeAlias = NDArray[np.float32]

SCALES_PX: tuple[tuple[float, float, float], ...] = ((1.0, 1.5, 1.5), (1.5, 2.5, 2.5), (2.0, 4.0, 4.0))
"""Standard deviations (z, y, x) of the Gaussians, raw voxels, finest first."""
_BINS_PX = (2, 2, 4)
"""Side of the squares that each scale is smoothed on: a wide Gaussian needs no fine grid."""
_RELEVANT = 0.1
"""A contradiction smaller than this share of the local signal is an error of intensity, not of structure."""
_ALARM_SHARE = 0.01 / (2 * len(SCALES_PX))
"""Chance of a false alarm in one volume, by one scale and one sign."""
_NEIGHBOURHOOD = 1.8
"""In smoothing widths: light that a network spreads from a bright structure is an error of intensity, too."""
_SKEW = (0.5, 1.2)
"""(invented, missing) standard deviations on top of a normal distribution's: counts of few photons are skew, towards
more."""
_LEAST_THRESHOLD = 4.8
_MOST_CANDIDATES = 4096


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
    """(invented, missing) at each scale: the largest contradiction beyond noise, as a share of the intensity range."""
    alarms: tuple[NDArray[np.bool_], ...]
    """Where each of `maps` counts against the volume: beyond its threshold, and no mere error of intensity."""


def examine(
    left: Residual, camera: CameraModel, limits: EvidenceLimits, *, range_counts: float, is_projection: bool = False
) -> Evidence:
    """Smooth and standardise a residual at every scale, and list the places above the limits.

    With a projection every plane has been compared with the same one: what the plane that is nearest to it lacks was
    invented, and missing structure cannot be distinguished from what was left out on purpose.

    Parameters
    ----------
    range_counts : of the restoration, from its low to its high percentile
    """
    maps: list[Array] = []
    doubts: list[Doubt] = []
    found: list[_Alarms] = []
    sd: list[float] = []
    every = zip(SCALES_PX, _BINS_PX, limits.invented_of_range, limits.missing_of_range, strict=True)
    for scale, bin_px, *of_range in every:
        along_z = 0.0 if is_projection or len(left.residual) == 1 else scale[0]
        grid = _Grid(left, bin_px, (along_z, scale[1] / bin_px, scale[2] / bin_px))
        z = grid.standardised(camera)
        if is_projection:
            z = np.minimum(z.max(axis=0, keepdims=True), 0)
        sd.append(_deviation(z))
        tolerance = _Tolerance(
            _thresholds(z.size, grid.sigma, max(1.0, sd[0])), limits.allowance, of_range, range_counts
        )
        alarms = _alarms(z, grid, camera, tolerance)
        if alarms.worst != (0.0, 0.0):
            doubts += _peaks(z, alarms.where, np.array(scale) / (1, bin_px, bin_px), bin_px=bin_px)
        found.append(alarms)
        maps.append(z)
    return Evidence(
        maps=tuple(maps),
        sd=tuple(sd),
        share=max(float(alarms.where.mean()) for alarms in found),
        doubts=_apart(doubts),
        worst=tuple(alarms.worst for alarms in found),
        alarms=tuple(alarms.where for alarms in found),
    )


class _Grid:
    """A residual on squares of one size, and the Gaussian that smooths it there."""

    def __init__(self, left: Residual, bin_px: int, sigma: tuple[float, float, float]) -> None:
        self.residual, self.variance = (coarser(array, bin_px // BIN_PX) for array in (left.residual, left.variance))
        self.area, self.sigma = np.float32(bin_px**2), sigma
        self.smoothed = smooth(self.residual, sigma)

    def standardised(self, camera: CameraModel) -> Array:
        """Return z, (z, y, x)."""
        along = [sums_of_squares(n, width) for n, width in zip(self.smoothed.shape, self.sigma, strict=True)]
        lateral = np.multiply.outer(along[1], along[2])
        variance = self._local_variance() * along[0][:, np.newaxis, np.newaxis]
        variance += self.area * np.float32(camera.pattern_sd**2)  # the same in every plane: z does not average it
        variance *= lateral
        np.sqrt(variance, out=variance)
        return np.asarray(np.divide(self.smoothed, variance, out=variance), np.float32)

    def _local_variance(self) -> Array:
        """Return the variance of a square, averaged as K² does: it varies slowly, so on squares of twice the side."""
        ny, nx = self.variance.shape[1:]
        even = (
            np.pad(self.variance, ((0, 0), (0, ny % 2), (0, nx % 2)), mode="edge")
            if ny % 2 or nx % 2
            else self.variance
        )
        narrow = math.sqrt(0.5)
        sigma = (self.sigma[0] * narrow, self.sigma[1] * narrow / 2, self.sigma[2] * narrow / 2)
        coarse = smooth(coarser(even, 2), sigma) * np.float32(0.25)
        return np.repeat(np.repeat(coarse, 2, axis=1), 2, axis=2)[:, :ny, :nx]

    def of_signal(self, camera: CameraModel) -> Array:
        """Return the smoothed residual as a share of the smoothed signal; of the variance, the signal is the rest."""
        wide = (_NEIGHBOURHOOD * self.sigma[0], _NEIGHBOURHOOD * self.sigma[1], _NEIGHBOURHOOD * self.sigma[2])
        signal = np.maximum(smooth(self.variance, self.sigma), smooth(self.variance, wide))
        signal -= np.float32(camera.dark_variance) * self.area
        signal *= np.float32(1 / camera.gain)
        share = np.abs(self.smoothed) / np.maximum(signal, np.float32(1e-6))
        return np.asarray(np.maximum(share, np.float32(1e-6)), np.float32)


class _Alarms(NamedTuple):
    where: NDArray[np.bool_]
    worst: tuple[float, float]
    """(invented, missing), as in `Evidence`."""


class _Tolerance(NamedTuple):
    thresholds: tuple[float, float]
    """(invented, missing), standard deviations."""
    allowance: float
    """Error of intensity, as a share of the signal."""
    of_range: Sequence[float]
    """(invented, missing): a smaller contradiction does not matter."""
    range_counts: float


def _thresholds(n: int, sigma: tuple[float, float, float], noise_sd: float) -> tuple[float, float]:
    """Return what noise alone exceeds in one volume of 100, from the number of independent places in n squares.

    Parameters
    ----------
    noise_sd : of the finest scale: a camera that is noisier than thought is no reason for an alarm
    """
    area = math.prod(max(2 * math.sqrt(math.pi) * width, 1.0) for width in sigma)
    normal = NormalDist().inv_cdf(1 - min(_ALARM_SHARE * area / max(n, 1), 0.1))
    return tuple(max(normal + skew, _LEAST_THRESHOLD) * noise_sd for skew in _SKEW)  # type: ignore[return-value]


def _alarms(z: Array, grid: _Grid, camera: CameraModel, tolerance: _Tolerance) -> _Alarms:
    """Return where a residual is beyond its threshold and no mere error of intensity."""
    if z.min() > -tolerance.thresholds[0] and z.max() < tolerance.thresholds[1]:  # the rule: nothing more to do
        return _Alarms(np.zeros(z.shape, bool), (0.0, 0.0))
    threshold = np.where(z < 0, *(np.float32(one) for one in tolerance.thresholds))
    where = np.abs(z) > threshold
    of_signal, counts = grid.of_signal(camera), np.abs(grid.smoothed)
    if len(of_signal) != len(z):
        of_signal, counts = (array.min(axis=0, keepdims=True) for array in (of_signal, counts))
    where &= np.abs(z) * (1 - np.minimum(np.float32(tolerance.allowance) / of_signal, 1)) > threshold
    where &= of_signal > _RELEVANT
    of_range = counts[where] / (grid.area * np.float32(max(tolerance.range_counts, 1e-6)))
    is_missing = z[where] > 0
    where[where] = of_range > np.where(is_missing, tolerance.of_range[1], tolerance.of_range[0])
    worst = (float(of_range[side].max(initial=0)) for side in (~is_missing, is_missing))
    return _Alarms(where, (next(worst), next(worst)))


def _deviation(z: Array) -> float:
    """Return the standard deviation in one pass."""
    flat = z.reshape(-1)
    return math.sqrt(max(float(np.dot(flat, flat)) / len(flat) - float(flat.mean()) ** 2, 0.0))


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
