"""The pixels of a camera, estimated while it runs: what restorations leave over, the same in every plane."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.camera import CameraModel
from care_live.trust.photon_transfer import shrunk_noise
from care_live.trust.residual import PixelSums, pixel_sums
from care_live.trust.smooth import Power, smooth

Array: TypeAlias = NDArray[np.float32]

_ENOUGH_PLANES = 16
_MOST_PLANES = 4096
"""From here on older planes are forgotten slowly: a sensor warms up."""
_MOST_SDS = 3.0
"""Largest offset of a pixel, in standard deviations of the pattern: more is a structure."""
_MEDIAN_OF_SD = 0.6745
"""Median distance from the middle of a normal distribution, in standard deviations."""
_N_RUNS, _OF_MEDIAN = 4, 1.2
"""Runs of planes of one volume, and the variance of their median, in variances of the mean of all."""
_LEAST_WEIGHT = np.float32(1e-3)
_SMOOTH_PX = (0.0, 1.5, 1.5)
"""A network takes for light what of a pattern is smooth, so that part is restored, and is not left over."""
_WIDE_PX = (0.0, 16.0, 16.0)
"""What is as smooth as this, every network restores as light: what is left over of it is its error, and no pattern."""


@dataclass(slots=True, eq=False)
class PatternEstimate:
    """What is left of each pixel over all planes so far."""

    sums: PixelSums | None = None
    n_planes: int = 0
    known: CameraModel | None = None
    """The camera with what was learnt; None: too few planes came."""

    def learn(self, seen: PixelSums, camera: CameraModel, n_planes: int) -> None:
        """Take what the planes of one volume leave over, the pattern of the camera subtracted."""
        if self.sums is None or self.sums.weight.shape != seen.weight.shape:
            self.sums, self.n_planes, self.known = seen, n_planes, None
        else:
            is_full = self.n_planes > _MOST_PLANES
            self.sums = self.sums.plus(seen, keep=0.5 if is_full else 1.0)
            self.n_planes = (self.n_planes // 2 if is_full else self.n_planes) + n_planes
        if self.n_planes >= _ENOUGH_PLANES:
            self.known = _learnt(self.sums, camera)

    def fits(self, shape_px: tuple[int, ...]) -> bool:
        """Tell whether something is known of a field (y, x) of this size."""
        return self.known is not None and self.known.pattern is not None and self.known.pattern.shape == shape_px


def sums_of_runs(raw: NDArray[Any], predicted: Array, camera: CameraModel) -> tuple[PixelSums, ...]:
    """Return what is left of each pixel in each of a few runs of planes; one run where planes are few.

    Parameters
    ----------
    raw, predicted : (z, y, x) counts
    """
    n_runs = _N_RUNS if len(raw) >= _ENOUGH_PLANES else 1
    bounds = np.linspace(0, len(raw), n_runs + 1).astype(int).tolist()
    runs = [slice(first, after) for first, after in itertools.pairwise(bounds)]
    return tuple(pixel_sums(raw[run], predicted[run], camera) for run in runs)


def total(runs: Sequence[PixelSums]) -> PixelSums:
    """Return the sums of all planes."""
    return functools.reduce(PixelSums.plus, runs)


def of_one_volume(runs: Sequence[PixelSums], camera: CameraModel) -> CameraModel:
    """Return a camera with the pattern and noise that a single volume shows; unchanged where it has few planes.

    What of the pattern differs from pixel to pixel, no network restores. What of it is smooth, one may restore as
    light: then nothing of it is left over, or minus what a camera file says. A good one does not, and it is left over.
    So that part is looked for with a camera file, too. A structure is in one or two of the runs of planes, and in
    their median hardly. What is chance was fitted to this very volume: it does not add to what is left there.

    Parameters
    ----------
    runs : `sums_of_runs` of that volume
    """
    if len(runs) < _N_RUNS:
        return camera
    mean, chance, noise = _of_pixels(total(runs))
    coarse = np.median([_smooth(_mean(run)) for run in runs], axis=0)
    coarse -= np.median(coarse)  # a level is no pattern
    more = narrow(_less_chance(coarse, np.float32(_OF_MEDIAN) * _smooth(chance, 2))[0])
    if camera.pattern is not None:
        return replace(camera, pattern=camera.pattern + more)
    fine, _ = _less_chance(mean - _smooth(mean), chance)
    return replace(camera, pattern=fine + more, pattern_sd=0.0, dark_noise=noise)


def _learnt(sums: PixelSums, camera: CameraModel) -> CameraModel:
    """Return a camera with what earlier volumes show on top of its pattern."""
    mean, chance, noise = _of_pixels(sums)
    smooth_part = _smooth(mean)
    of_smooth, _ = _less_chance(smooth_part, _smooth(chance, 2))
    fine, left = _less_chance(mean - smooth_part, chance)
    more = narrow(of_smooth) + fine
    pattern = more if camera.pattern is None else camera.pattern + more
    return replace(camera, pattern=pattern, pattern_sd=left, dark_noise=noise)


def narrow(pattern: Array) -> Array:
    """Return a pattern without what of it is wide, such as quarters of a sensor that are read by other amplifiers.

    Parameters
    ----------
    pattern : (y, x) counts; NaN: a pixel too noisy to use
    """
    usual = np.nan_to_num(pattern)
    middle = float(np.median(usual))
    most = _MOST_SDS * float(np.median(np.abs(usual - middle))) / _MEDIAN_OF_SD  # hot pixels are not wide
    return np.asarray(pattern - smooth(usual.clip(middle - most, middle + most)[np.newaxis], _WIDE_PX)[0], np.float32)


def without_wide(camera: CameraModel) -> CameraModel:
    """Return a measured camera with what of its pattern is not restored as light."""
    return camera if camera.pattern is None else replace(camera, pattern=narrow(camera.pattern))


def _smooth(plane: Array, power: Power = 1) -> Array:
    return np.asarray(smooth(plane[np.newaxis], _SMOOTH_PX, power)[0], np.float32)


def _of_pixels(sums: PixelSums) -> tuple[Array, Array, Array]:
    """Return the mean of each pixel, the variance of that by chance, and the pixel's noise; (y, x)."""
    weight, squares = (np.maximum(one, _LEAST_WEIGHT) for one in (sums.weight, sums.square_weight))
    mean = _mean(sums)
    noise = shrunk_noise(np.asarray(sums.square / squares - mean**2, np.float32), squares)
    return mean, np.asarray(noise / weight, np.float32), noise


def _mean(sums: PixelSums) -> Array:
    return np.asarray(sums.residual / np.maximum(sums.weight, _LEAST_WEIGHT), np.float32)


def _less_chance(part: Array, chance: Array) -> tuple[Array, float]:
    """Return a pattern as far as it is more than chance, and the standard deviation of what is not in it."""
    true = np.float32(max(float(part.var()) - float(chance.mean()), 0.0))
    most = np.float32(_MOST_SDS) * np.sqrt(true)
    weight = true / np.maximum(true + chance, np.float32(1e-6))
    return np.clip(part * weight, -most, most), float(np.sqrt(np.mean(true * (1 - weight))))
