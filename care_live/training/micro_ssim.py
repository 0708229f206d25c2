"""microSSIM: structural similarity for dim images, whose offset and scale mean nothing.

SSIM of images with a camera's offset is near 1 whatever their structures, and rewards the scale that suits its
constants. Here both backgrounds are subtracted, and the image is multiplied by the one factor that suits it best.

References
----------
Ashesh, Deschamps, Jug, "MicroSSIM: improved structural similarity for comparing microscopy data", ECCV workshops 2024;
Wang et al., IEEE Trans. Image Process. 13 (2004), for SSIM and its constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float64]

BACKGROUND_PERCENTILE = 3.0
_SIGMA_PX = 1.5
_C1, _C2 = 0.01**2, 0.03**2
_N_FACTORS, _N_ROUNDS = 17, 3
"""Factors that are tried in a round, around the best one of the round before."""


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
