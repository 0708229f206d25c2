"""Reference planes: some planes are exposed a second time at full light, and so the error of a run is measured.

The reference is put on the scale of its low-light twin by a straight line, as both count the same photons and only the
light differs. Its own noise is taken off the measured error, and off each error of which the coverage is counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.camera import CameraModel
from care_live.trust.smooth import smooth
from care_live.trust.twins import Twins, aligned, line, usable, white_noise_variance

PlanePixels: TypeAlias = NDArray[np.float64]

LEVEL = 0.9
"""Nominal mass of the interval whose coverage is measured."""
_N_GROUPS = 10
"""Of voxels of nearly one brightness: the reference's noise differs between them."""
_MOST_WIDENING = 20.0
_LEAST_STEP = 0.3
"""How far the widening goes at least to what one time point shows, on a logarithmic scale."""
_FULL_STEP_GAP = 0.5
"""A gap in which a single plane's chance has no part: the widening goes all the way."""
_LEAST_OWN = 0.4
"""Share of the observed error that must be the restoration's: a difference of two near numbers says nothing."""
_WIDTHS_PX = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Of the Gaussian filters that a network is compared with."""
_SDS_OF_PERCENTILE = 3.09
"""From the mean to the 0.1 percentile of what is normal."""


@dataclass(frozen=True, slots=True)
class ErrorFigures:
    """The error of a restoration at its reference planes, less the noise of these."""

    nrmse: float
    """Over the range between the 0.1 and 99.9 percentiles, after the affine fit of `care_live.metrics`."""
    psnr_db: float
    gain_db: float
    """PSNR over that of the best Gaussian filter of the same raw planes, tuned with the references."""
    ratios: NDArray[np.float64] | None
    """Sorted |error| / half width of every voxel; None without a scale."""
    shift_px: float = 0.0
    """By how much the specimen moved between the two exposures, at most; it is corrected."""

    def coverage(self, widening: float) -> float | None:
        """Return which share of the voxels lies in the interval, widened by a factor."""
        if self.ratios is None:
            return None
        return float(np.searchsorted(self.ratios, widening, side="right") / len(self.ratios))

    def wanted_widening(self) -> float | None:
        """Return the factor by which the interval would hold just `LEVEL` of these voxels."""
        if self.ratios is None:
            return None
        return float(np.clip(np.quantile(self.ratios, LEVEL), 1 / _MOST_WIDENING, _MOST_WIDENING))


def measure(planes: Sequence[Twins], camera: CameraModel | None = None) -> ErrorFigures:
    """Measure the error of one restored volume at its reference planes.

    Parameters
    ----------
    planes : at least one; planes of a constant reference say nothing
    camera : as dim planes show it: in bright ones the specimen's own texture passes for noise. None: each reference
        shows its noise itself

    Raises
    ------
    ValueError
        No reference can be used: constant, saturated, so dim that its own noise is most of what it shows, or of a
        specimen that moved.
    """
    pairs = _usable_of(planes)
    found = [_compared(one, camera) for one in pairs]
    truth, noise, mean = (np.concatenate(parts) for parts in zip(*(one[:3] for one in found), strict=True))
    nrmse = _nrmse(mean, truth, noise)
    ratios = [one[3] for one in found if one[3] is not None]
    joined = np.sort(np.concatenate(ratios)) if len(ratios) == len(found) else None
    moved_px = max(one.shift_px for one in pairs)
    gain_db = _decibels(_own_error(mean, truth, noise) / _error_of_filter(pairs, truth, noise))
    return ErrorFigures(nrmse, _decibels(nrmse), gain_db, joined, moved_px)


def followed(widening: float, wanted: float) -> float:
    """Return the widening from now on: it goes to what was just measured, the further the less it can be chance.

    References
    ----------
    Gibbs & Candès, Adaptive conformal inference under distribution shift, NeurIPS 34 (2021): the interval follows the
    measured coverage, here by the quantile that one reference shows instead of one hit or miss a step.
    """
    gap = float(np.log(wanted / widening))
    step = min(1.0, _LEAST_STEP + (1 - _LEAST_STEP) * abs(gap) / _FULL_STEP_GAP)
    return float(widening * np.exp(step * gap))


def _usable_of(planes: Sequence[Twins]) -> list[Twins]:
    """Return the pairs that show the same, laid on each other; the first one's reason where there is no such pair."""
    found, reasons = [], []
    for one in planes:
        try:
            found.append(aligned(one))
        except ValueError as error:
            reasons.append(str(error))
    if not found:
        raise ValueError(reasons[0])
    return found


def _compared(
    one: Twins, camera: CameraModel | None
) -> tuple[PlanePixels, PlanePixels, PlanePixels, PlanePixels | None]:
    """Return reference, its noise variance, mean and error over half width, each flat, in counts of the dim plane."""
    reference = one.reference.astype(np.float64)
    counts = usable(one)
    gain, offset = line(reference[counts], one.raw[counts].astype(np.float64))
    truth, noise = gain * reference + offset, gain**2 * noise_variance(one.reference, camera)
    mean = one.mean.astype(np.float64)
    truth, noise, mean = truth[counts], noise[counts], mean[counts]
    if one.half_width is None:
        return truth, noise, mean, None
    errors = _less_noise(mean - truth, noise, by=mean)
    return truth, noise, mean, np.abs(errors) / np.maximum(one.half_width[counts], 1e-12)


def noise_variance(reference: NDArray[Any], camera: CameraModel | None) -> PlanePixels:
    """Return the noise variance of every pixel of a reference, counts²; without a camera one for all."""
    if camera is not None:
        return camera.variance(reference.astype(np.float32)).astype(np.float64)
    return np.full(reference.shape, white_noise_variance(reference.astype(np.float64)))


def _less_noise(errors: PlanePixels, noise: PlanePixels, *, by: PlanePixels) -> PlanePixels:
    """Shrink what differs in errors of one brightness, so that it keeps the variance that is not the reference's."""
    shrunk = np.empty_like(errors)
    for group in _groups(by):
        off = float(errors[group].mean())
        observed = float(errors[group].var())
        own = max(observed - float(np.mean(noise[group])), 0.0)
        shrunk[group] = off + (errors[group] - off) * (np.sqrt(own / observed) if observed > 0 else 0.0)
    return shrunk


def _groups(by: PlanePixels) -> list[NDArray[np.intp]]:
    """Return the voxels of nearly one brightness, the darkest first."""
    return np.array_split(np.argsort(by, kind="stable"), _N_GROUPS)


def _decibels(nrmse: float) -> float:
    return -20.0 * float(np.log10(max(nrmse, 1e-12)))


def _error_of_filter(pairs: Sequence[Twins], truth: PlanePixels, noise: PlanePixels) -> float:
    """Return the rms error of the Gaussian filter that is nearest to the references, counts."""
    errors = []
    for width_px in _WIDTHS_PX:
        filtered = np.concatenate([_filtered(one, width_px) for one in pairs])
        errors.append(_own_error(filtered, truth, noise))
        if errors[-1] > min(errors):  # wider ones are worse still
            break
    return min(errors)


def _filtered(one: Twins, width_px: float) -> PlanePixels:
    raw = np.asarray(one.raw, np.float32)[np.newaxis]
    filtered: PlanePixels = smooth(raw, (0.0, width_px, width_px))[0][usable(one)].astype(np.float64)
    return filtered


def _own_error(image: PlanePixels, truth: PlanePixels, noise: PlanePixels) -> float:
    """Return the rms error of an image, less the reference's noise as far as that is known; counts."""
    observed = float(np.mean((truth - _fitted(image, truth)) ** 2))
    return math.sqrt(max(observed - float(np.mean(noise)), _LEAST_OWN * observed))


def _fitted(image: PlanePixels, truth: PlanePixels) -> PlanePixels:
    """Return an image on the scale of the truth, by the least squares line."""
    centred, variance = image - image.mean(), float(image.var())
    slope = float(np.mean(centred * (truth - truth.mean()))) / variance if variance > 0 else 0.0
    fitted: PlanePixels = truth.mean() + slope * centred
    return fitted


def _nrmse(mean: PlanePixels, truth: PlanePixels, noise: PlanePixels) -> float:
    fitted = _fitted(mean, truth)
    observed = float(np.mean((truth - fitted) ** 2))
    own = observed - float(np.mean(noise))
    if own < _LEAST_OWN * observed:
        raise ValueError("the references are dim: most of what they differ by is their own noise")
    low, high = _range(fitted, truth, noise)
    if high <= low:
        raise ValueError("the reference planes are constant")
    return float(np.sqrt(own)) / (high - low)


def _range(fitted: PlanePixels, truth: PlanePixels, noise: PlanePixels) -> tuple[float, float]:
    """Return the 0.1 and 99.9 percentiles of what references show, without their noise.

    Noise makes the darkest voxel darker and the brightest brighter: 1 dB where the whole range is 5 counts. A
    background of one level is nothing but noise: the darkest voxels are taken for normal where that narrows the range.

    Parameters
    ----------
    fitted : the restoration, on the scale of the reference
    """
    dark = _groups(fitted)[0]
    spread = max(float(truth[dark].var()) - float(np.mean(noise[dark])), 0.0) ** 0.5
    quiet = fitted - _less_noise(fitted - truth, noise, by=fitted)
    low, high = (float(bound) for bound in np.percentile(quiet, (0.1, 99.9)))
    return max(low, float(truth[dark].mean()) - _SDS_OF_PERCENTILE * spread), high
