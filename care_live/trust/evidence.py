"""The evidence test: what is left of a raw volume once its restoration is taken away must be camera noise alone.

::

    z = K*((raw − predicted) / var) / sqrt(K²*(1 / var))

K is a Gaussian of sum 1, var the camera's noise variance of each pixel at the predicted counts. Pixels are summed in
squares first, which is exact for both sums and makes everything behind it cheap. A bright z is *missing* from the
restoration, a dark one was *invented*.

Beyond noise is an alarm only what is also beyond the error that the network itself expects there: a share, which the
card has from validation volumes, of its own interval of 90 %. An object that was left out is excused by no interval,
however wide: it stands out from the light around it, where what a network spreads or smooths away is a small share of
some bright structure nearby.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.model.card import EvidenceLimits
from care_live.trust.camera import CameraModel
from care_live.trust.doubtful_places import apart, peaks
from care_live.trust.residual import BIN_PX, Residual, coarser
from care_live.trust.smooth import Indices, smooth, smooth_at, sums_of_squares
from care_live.trust.surroundings import SCALES_PX, WIDE_PX, Surroundings
from care_live.trust.texture import Smoothed, texture_sd
from care_live.trust.thresholds import deviation, noise_sd, thresholds_of
from care_live.verdict import Doubt

Array: TypeAlias = NDArray[np.float32]

_BINS_PX = (2, 2, 4)
"""Side of the squares that each scale is smoothed on: a wide Gaussian needs no fine grid."""
_RELEVANT = 0.1
"""A contradiction smaller than this share of the local signal is an error of intensity, not of structure."""
_OF_LIGHT, _OF_BRIGHTEST, _OF_RANGE = (0.22, 0.09), (0.055, 0.03), (0.04, 0.035)
"""Shares of the local light, of the brightest square nearby and of the intensity range that an object left out is more
than, at the finest and the middle scale. What the network smoothed away near bright nuclei was less than one of the
first two, in 110 worms. What it made of dense tissue, where a worm is as small as the field, was less than the third.
The middle scale sees objects between dense bright nuclei whose noise hides them at the finest one."""
_FAINT, _FAINT_OF_LIGHT = 0.004, 0.05
"""Of the intensity range, less this share of the local light: a contradiction in the dark that is beyond the noise by
less is an error of intensity, not of structure. Networks are off by as much all over wide dark places, where noise on
top of it reaches further than noise alone."""
_SURPLUS = (1.05, 1.0)
"""Times the noise that such an object is more than: no interval stands between it and chance."""
_OF_THRESHOLD = 0.8
"""Below which share of a threshold the surroundings of a place are not asked, whether they show its tone."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The standardised residual of one volume."""

    maps: tuple[Array, ...]
    """One for each scale, (z, y, x) on its grid of squares; positive: missing, negative: invented."""
    sd: tuple[float, ...]
    share: float
    """Of the squares that are beyond the limits, at the scale where most are."""
    doubts: tuple[Doubt, ...]
    """Indices in raw voxels."""
    worst: tuple[tuple[float, float], ...]
    """(invented, missing) at each scale: the largest contradiction beyond noise, as a share of the interval of the
    network, or of the intensity range where it gives none."""
    texture_sd: float
    """Of fine structures in bright places, see `care_live.trust.texture`; 1: noise, 0: too little light to say."""
    n_lit: int
    """Squares of `WIDE_PX` pixels that showed this."""
    alarms: tuple[NDArray[np.bool_], ...]
    """Where each of `maps` counts against the volume: beyond its threshold, and no mere error of intensity."""


class Expected(NamedTuple):
    """Errors that are expected of a restoration."""

    limits: EvidenceLimits
    range_counts: float
    """Of the restoration, from its low to its high percentile."""
    interval: Array | None = None
    """Half of the network's interval of 90 %, counts, (z, y, x) on squares of 4 pixels; None: it gives none."""

    def shares(self, scale: int) -> tuple[float, float]:
        """Return which share of the expected error is harmless, (invented, missing)."""
        if self.interval is None:
            return self.limits.invented_of_range[scale], self.limits.missing_of_range[scale]
        return self.limits.invented_of_interval[scale], self.limits.missing_of_interval[scale]


def examine(left: Residual, camera: CameraModel, expected: Expected, *, is_projection: bool = False) -> Evidence:
    """Smooth and standardise a residual at every scale, and list the places above the limits.

    With a projection every plane has been compared with the same one: what the plane that is nearest to it lacks was
    invented, and missing structure cannot be distinguished from what was left out on purpose.
    """
    maps: list[Array] = []
    doubts: list[Doubt] = []
    found: list[_Alarms] = []
    sd: list[float] = []
    grids: list[_Grid] = []
    around = Surroundings(left, camera, expected.range_counts, expected.interval)
    for number, (scale, bin_px) in enumerate(zip(SCALES_PX, _BINS_PX, strict=True)):
        along_z = 0.0 if is_projection or len(left.weighted) == 1 else scale[0]
        grid = _Grid(left, bin_px, (along_z, scale[1] / bin_px, scale[2] / bin_px))
        grids.append(grid)
        z = grid.standardised(camera.pattern_sd)
        if is_projection:
            z = np.minimum(z.max(axis=0, keepdims=True), 0)
        maps.append(z)
        sd.append(deviation(z if is_projection else np.delete(z, left.without, axis=0) if left.without else z))
        thresholds = thresholds_of(z.size, grid.sigma, min(noise_sd(z, around.is_lit), max(1.0, sd[0])))
        alarms = _alarms(z, grid, around, _Tolerance(thresholds, expected, number))
        if alarms.where.any():
            doubts += peaks(alarms.z, alarms.where, np.array(scale) / (1, bin_px, bin_px), bin_px=bin_px)
        found.append(alarms)
    return Evidence(
        maps=tuple(maps),
        sd=tuple(sd),
        share=max(float(alarms.where.mean()) for alarms in found),
        doubts=apart(doubts, np.array(SCALES_PX[-1])),
        worst=tuple(alarms.worst for alarms in found),
        texture_sd=0.0 if is_projection else texture_sd(grids[0].sampled(), grids[-1].sampled(), around.is_lit),
        n_lit=int(np.count_nonzero(around.is_lit)),
        alarms=tuple(alarms.where for alarms in found),
    )


class _Grid:
    """A residual on squares of one size, and the Gaussian that smooths it there."""

    def __init__(self, left: Residual, bin_px: int, sigma: tuple[float, float, float]) -> None:
        self.weighted, self.weight = (coarser(array, bin_px // BIN_PX) for array in (left.weighted, left.weight))
        self.area, self.bin_px, self.sigma = np.float32(bin_px**2), bin_px, sigma
        self.smoothed, self._untoned = smooth(self.weighted, sigma), left.untoned

    def standardised(self, pattern_sd: float) -> Array:
        """Return z, (z, y, x).

        Parameters
        ----------
        pattern_sd : counts, of what is the same in every plane: smoothing along z does not average it
        """
        along_z = float(sums_of_squares(len(self.weight), self.sigma[0]).min())
        variance = self.weight * np.float32(pattern_sd**2 / (float(self.area) * along_z))
        variance += 1
        variance *= self.weight
        variance = smooth(variance, self.sigma, 2)
        np.maximum(variance, np.float32(1e-12), out=variance)
        self._deviation = np.sqrt(variance, out=variance)
        return np.asarray(self.smoothed / variance, np.float32)

    def sampled(self) -> Smoothed:
        """Return the residual every 4 pixels, in sums of squares of 2."""
        every, parts = slice(None, None, WIDE_PX // self.bin_px), np.float32((BIN_PX / self.bin_px) ** 2)
        z, y, x = self.sigma
        residual, noise = (array[:, every, every] * parts for array in (self.smoothed, self._deviation))
        return Smoothed(residual, noise, (z, y * self.bin_px, x * self.bin_px))

    def before_tone(self, places: Indices) -> Array | None:
        """Return z at some places, with what each brightness is off by in it; None: nothing of that was taken out."""
        if self._untoned is None:
            return None
        untoned = smooth_at(coarser(self._untoned, self.bin_px // BIN_PX), self.sigma, places)
        return np.asarray(untoned / self._deviation[places], np.float32)

    def counts_at(self, where: Indices) -> Array:
        """Return the smoothed residual of a pixel, counts, at some places."""
        coarse = coarser(self.weight, 2) if self.bin_px < WIDE_PX else self.weight
        times = WIDE_PX // self.bin_px
        z, y, x = where
        sigma = (self.sigma[0], self.sigma[1] / times, self.sigma[2] / times)
        weight = smooth_at(coarse, sigma, (z, y // times, x // times))
        return np.asarray(self.smoothed[where] * np.float32(times**2) / np.maximum(weight, 1e-12))


class _Alarms(NamedTuple):
    z: Array
    """Standardised, with the tone that the surroundings do not show."""
    where: NDArray[np.bool_]
    worst: tuple[float, float]
    """(invented, missing), as in `Evidence`."""


class _Tolerance(NamedTuple):
    thresholds: tuple[float, float]
    """(invented, missing), standard deviations."""
    expected: Expected
    scale: int


def _alarms(z: Array, grid: _Grid, around: Surroundings, tolerance: _Tolerance) -> _Alarms:
    """Return where a residual is beyond noise and beyond what the network expects of itself."""
    finds_objects, where = tolerance.scale < len(_OF_LIGHT), np.zeros(z.shape, np.bool_)
    least_invented, least_missing = tolerance.thresholds
    toned, (z, beyond) = z, _beyond_tone(z, grid, around if finds_objects else None, tolerance.thresholds)
    if not len(beyond[0]):
        return _Alarms(z, where, (0.0, 0.0))
    z_at, is_missing = np.abs(z[beyond]), z[beyond] > 0
    places = _nearest_planes(beyond, grid, z)
    counts = np.abs(grid.counts_at(places)) * z_at / np.abs(toned[beyond])
    wide = (places[0], *(place * grid.bin_px // WIDE_PX for place in places[1:]))
    noise, signal = counts * np.where(is_missing, least_missing, least_invented) / z_at, around.signal[wide]
    faint = np.maximum(_FAINT * tolerance.expected.range_counts - _FAINT_OF_LIGHT * signal, 0)
    if tolerance.expected.interval is None:
        matters, error = counts > noise + np.maximum(faint, tolerance.expected.limits.allowance * signal), counts
    else:
        matters, error = counts > noise + faint, counts - noise
    of_error = np.where(matters & (counts > _RELEVANT * signal), error, 0) / around.error[wide]
    invented, missing = tolerance.expected.shares(tolerance.scale)
    where[beyond] = of_error > np.where(is_missing, missing, invented)
    if finds_objects and is_missing.any():
        least = np.maximum(_OF_LIGHT[tolerance.scale] * signal, _OF_BRIGHTEST[tolerance.scale] * around.brightest[wide])
        least = np.maximum(least, _OF_RANGE[tolerance.scale] * tolerance.expected.range_counts)
        where[beyond] |= is_missing & (counts > np.maximum(least, _SURPLUS[tolerance.scale] * noise))
    worst = (float(of_error[side].max(initial=0)) for side in (~is_missing, is_missing))
    return _Alarms(z, where, (next(worst), next(worst)))


def _beyond_tone(
    z: Array, grid: _Grid, around: Surroundings | None, thresholds: tuple[float, float]
) -> tuple[Array, Indices]:
    """Return z with the tone that the surroundings do not show, and where it is beyond its thresholds.

    Parameters
    ----------
    around : asked for what was left out; None: its tone stays taken out
    thresholds : (invented, missing)
    """
    least_invented, least_missing = thresholds
    near = np.nonzero(_beyond(z, (least_invented, least_missing * (_OF_THRESHOLD if around else 1.0))))
    if (untoned := grid.before_tone(near)) is None:
        return z, tuple(axis[_beyond(z[near], thresholds)] for axis in near)
    z_near = z[near]
    if around is not None and (untoned > least_missing).any():
        absent = around.absent_tone(z.shape)[near]
        z_near = np.where(z_near > 0, z_near + absent * np.maximum(untoned - z_near, 0), z_near)
        z = z.copy()
        z[near] = z_near
    is_beyond = _beyond(z_near, thresholds) & _beyond(untoned, thresholds)
    is_beyond &= (untoned > 0) == (z_near > 0)  # a tone excuses, and accuses none
    return z, tuple(axis[is_beyond] for axis in near)


def _beyond(z: Array, thresholds: tuple[float, float]) -> NDArray[np.bool_]:
    return np.asarray((z > np.float32(thresholds[1])) | (z < np.float32(-thresholds[0])))


def _nearest_planes(places: Indices, grid: _Grid, z: Array) -> Indices:
    """Return the places in the stack; a projection's are in the plane that is nearest to it."""
    if len(z) == len(grid.smoothed):
        return places
    return (grid.smoothed[:, places[1], places[2]].argmax(axis=0), *places[1:])
