"""The paper's image metrics, in numpy.

The ground truth is normalised by its 0.1 and 99.9 percentiles, the other image is fitted to it by the
affine least squares map, and then PSNR and SSIM are taken with data range 1 (Weigert et al., Nature
Methods 15, 1090 (2018), Methods, "Quantification of restoration errors").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError
from care_live.imports import need


@dataclass(frozen=True, slots=True)
class Scores:
    """How near an image is to its ground truth."""

    nrmse: float
    psnr_db: float
    ssim: float


def normalise(truth: NDArray[np.floating]) -> NDArray[np.float32]:
    """Map the 0.1 and 99.9 percentiles of the ground truth to 0 and 1.

    Raises
    ------
    ConfigError
        The ground truth is constant.
    """
    low, high = np.percentile(truth, (0.1, 99.9))
    if high <= low:
        raise ConfigError(f"ground truth is constant ({low:g}): nothing to score against")
    normalised: NDArray[np.float32] = ((truth - low) / (high - low)).astype(np.float32)
    return normalised


def affine_fit(image: NDArray[np.generic], truth: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a·image + c with the a and c that minimise the mean squared error to the truth."""
    x = image.astype(np.float64)
    variance = x.var()
    slope = ((x - x.mean()) * (truth - truth.mean())).mean() / variance if variance > 0 else 0.0
    fitted: NDArray[np.float32] = (slope * (x - x.mean()) + truth.mean()).astype(np.float32)
    return fitted


def nrmse(image: NDArray[np.generic], truth: NDArray[np.floating]) -> float:
    """Root mean squared error after the affine fit; the normalised truth's range is 1."""
    target = normalise(truth)
    return float(np.sqrt(np.mean((affine_fit(image, target).astype(np.float64) - target) ** 2)))


def psnr_db(image: NDArray[np.generic], truth: NDArray[np.floating]) -> float:
    """Peak signal-to-noise ratio, decibels, data range 1: −20·log10(NRMSE)."""
    return float(-20.0 * np.log10(max(nrmse(image, truth), 1e-12)))


def ssim(image: NDArray[np.generic], truth: NDArray[np.floating]) -> float:
    """Structural similarity after the affine fit, data range 1, the library's 7-voxel window."""
    target = normalise(truth)
    measure = need("skimage.metrics", extra="mm").structural_similarity
    window = min(7, min(target.shape) - 1 + min(target.shape) % 2)
    return float(measure(target, affine_fit(image, target), data_range=1.0, win_size=window))


def score(image: NDArray[np.generic], truth: NDArray[np.floating]) -> Scores:
    """Return NRMSE, PSNR and SSIM of one image.

    Parameters
    ----------
    image, truth : (z, y, x) or (y, x), any intensity scale each

    Raises
    ------
    ConfigError
        Shapes differ, or the ground truth is constant.
    """
    if image.shape != truth.shape:
        raise ConfigError(f"image has shape {image.shape}, its ground truth {truth.shape}: they must be the same")
    return Scores(nrmse=nrmse(image, truth), psnr_db=psnr_db(image, truth), ssim=ssim(image, truth))
