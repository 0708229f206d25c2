"""Image metrics, in numpy: how near an image is to its ground truth, whatever the unit of either.

For the paper's metrics the ground truth is normalised by its 0.1 and 99.9 percentiles, and the other image is fitted to
it by the affine least squares map. Then PSNR and SSIM are taken with data range 1.

SSIM of images with a camera's offset is near 1 whatever their structures, and rewards the scale that suits its
constants. So for dim images there is microSSIM: both backgrounds are subtracted, and the image is multiplied by the one
factor that suits it best.

References
----------
Weigert et al., Nature Methods 15, 1090 (2018), Methods, "Quantification of restoration errors";
Ashesh, Deschamps, Jug, "MicroSSIM: improved structural similarity for comparing microscopy data", ECCV workshops 2024;
Wang et al., IEEE Trans. Image Process. 13 (2004), for SSIM and its constants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError
from care_live.imports import need

Pixels = NDArray[np.float64]
_SSIM_WINDOW_PX = 7

BACKGROUND_PERCENTILE = 3.0
_SIGMA_PX = 1.5
_C1, _C2 = 0.01**2, 0.03**2
_N_FACTORS, _N_ROUNDS = 17, 3
"""Factors that are tried in a round, around the best one of the round before."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How near an image is to its ground truth."""

    nrmse: float
    psnr_db: float
    ssim: float
    micro_ssim: float = math.nan
    """See the function `micro_ssim`; NaN where it was not computed."""


def score(image: NDArray[Any], truth: NDArray[Any]) -> Scores:
    """Return NRMSE, PSNR and SSIM of one image.

    Parameters
    ----------
    image, truth : (z, y, x) or (y, x), any intensity scale each; SSIM is the mean over planes

    Raises
    ------
    ConfigError
        Shapes differ, or the ground truth is constant.
    """
    fitted, normed = fit_affine(image, truth)
    nrmse = float(np.sqrt(np.mean((normed - fitted) ** 2)))
    return Scores(nrmse, _decibels(nrmse), _ssim(fitted, normed))


def psnr_db(image: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the peak signal-to-noise ratio alone, decibels, data range 1: ``-20·log10(NRMSE)``."""
    fitted, normed = fit_affine(image, truth)
    return _decibels(float(np.sqrt(np.mean((normed - fitted) ** 2))))


def fit_affine(image: NDArray[Any], truth: NDArray[Any]) -> tuple[Pixels, Pixels]:
    """Return the image fitted to the normalised truth, and the normalised truth.

    Raises
    ------
    ConfigError
        Shapes differ, or the ground truth is constant.
    """
    if image.shape != truth.shape:
        raise ConfigError(f"image has shape {image.shape}, its ground truth {truth.shape}: they must be the same")
    low, high = np.percentile(truth, (0.1, 99.9))
    if high <= low:
        raise ConfigError(f"ground truth is constant ({low:g}): nothing to score against")
    normed = (truth.astype(np.float64) - low) / (high - low)
    shown = image.astype(np.float64)
    centred, variance = shown - shown.mean(), shown.var()
    slope = (centred * (normed - normed.mean())).mean() / variance if variance > 0 else 0.0
    return slope * centred + normed.mean(), normed


def _decibels(nrmse: float) -> float:
    return -20.0 * float(np.log10(max(nrmse, 1e-12)))


def _ssim(fitted: Pixels, normed: Pixels) -> float:
    measure = need("skimage.metrics", extra="mm").structural_similarity
    side = min(normed.shape[-2:])
    window = min(_SSIM_WINDOW_PX, side - 1 + side % 2)
    planes = zip(_planes(fitted), _planes(normed), strict=True)
    return float(np.mean([measure(truth, ours, data_range=1.0, win_size=window) for ours, truth in planes]))


def _planes(image: Pixels) -> Pixels:
    planes: Pixels = image.reshape(-1, *image.shape[-2:])
    return planes


def micro_ssim(image: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return microSSIM, the mean over planes and pixels, at most 1; NaN where the truth is constant.

    Parameters
    ----------
    image, truth : (z, y, x) or (y, x), any intensity scale each
    """
    wanted, shown = _above_background(truth), _above_background(image)
    brightest = float(wanted.max())
    if brightest <= 0:
        return float("nan")
    local = _Local.measure(wanted / brightest, shown / brightest)
    return local.similarity(_best_factor(local))


@dataclass(frozen=True, slots=True, eq=False)
class _Local:
    """Means, variances and covariance around every pixel."""

    truth_mean: Pixels
    image_mean: Pixels
    truth_variance: Pixels
    image_variance: Pixels
    covariance: Pixels

    @classmethod
    def measure(cls, truth: Pixels, image: Pixels) -> _Local:
        means = _smooth(truth), _smooth(image)
        return cls(
            *means,
            _smooth(truth * truth) - means[0] ** 2,
            _smooth(image * image) - means[1] ** 2,
            _smooth(truth * image) - means[0] * means[1],
        )

    def similarity(self, factor: float) -> float:
        """Return mean SSIM of the truth and the image times a factor."""
        means = 2 * factor * self.truth_mean * self.image_mean + _C1
        means /= self.truth_mean**2 + (factor * self.image_mean) ** 2 + _C1
        spreads = 2 * factor * self.covariance + _C2
        spreads /= self.truth_variance + factor**2 * self.image_variance + _C2
        return float(np.mean(means * spreads))


def _best_factor(local: _Local) -> float:
    """Search the factor, from the one that makes the means alike on."""
    best = float(np.mean(local.truth_mean)) / max(float(np.mean(local.image_mean)), 1e-12)
    reach = 8.0
    for _ in range(_N_ROUNDS):
        tried = [best * float(reach**power) for power in np.linspace(-1, 1, _N_FACTORS)]
        best, reach = max(tried, key=local.similarity), reach ** (2 / (_N_FACTORS - 1))
    return best


def _above_background(image: NDArray[Any]) -> Pixels:
    shown = image.astype(np.float64)
    return np.asarray(shown - np.percentile(shown, BACKGROUND_PERCENTILE))


def _smooth(image: Pixels) -> Pixels:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(image, (*[0.0] * (image.ndim - 2), _SIGMA_PX, _SIGMA_PX), truncate=3.5))
