"""The paper's image metrics, in numpy: how near an image is to its ground truth, whatever the unit of either.

The ground truth is normalised by its 0.1 and 99.9 percentiles, the other image is fitted to it by the
affine least squares map, and then PSNR and SSIM are taken with data range 1.

References
----------
Weigert et al., Nature Methods 15, 1090 (2018), Methods, "Quantification of restoration errors".
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


@dataclass(frozen=True, slots=True)
class Scores:
    """How near an image is to its ground truth."""

    nrmse: float
    psnr_db: float
    ssim: float
    micro_ssim: float = math.nan
    """See `care_live.training.micro_ssim`; NaN where it was not computed."""


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
