"""Scores of a network by the paper's metric, beside the raw image and the best filters, which know the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError
from care_live.metrics import Scores, fit_affine, micro_ssim, score

if TYPE_CHECKING:
    from care_live.training.evaluation.inference import Applied
from care_live.metrics import psnr_db

Measure: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], float]
"""How good an image is by a second exposure; more is better."""
ALIKE = 0.5
"""Share of the noise of the second exposure in the difference of two that are alike."""
_UNSURE = 0.15
"""By which share the noise of images may be taken for more than it is, or that of two exposures differ. It is at most
that on simulated spots of 5 to 100 photo-electrons, and on lines of 5 to 20. Fine structures pass for noise: lines of
100 were taken for 45 % too much, structures as fine as the pixels for 22 % with 20 photo-electrons, 180 % with 100."""
_NOTHING = Scores(float("nan"), float("nan"), float("nan"))
_WIDTHS_PX = (0.5, 0.7, 0.9, 1.1, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0)
_WIDTHS_Z_PX = (0.0, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0)
_WEIGHTS = (0.7, 1.4, 2.8)
"""Of total variation, in units of the noise; then half-way to either side of the best, twice."""
_N_ITERATIONS = 40


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One condition: means over its volumes and channels."""

    condition: str
    n_volumes: int
    raw: Scores
    gaussian: Scores
    """The best Gaussian filter, tuned with the truth."""
    ours: Scores
    classical: Scores | None = None
    """The best of total variation, tuned with the truth, where it was asked for."""


def estimate(applied: Sequence[Applied], *, second_noise: float = 0.5) -> ScoreRow:
    """Estimate the least PSNR of images whose "truth" is a second exposure of the same; without SSIM.

    The mean squared difference from a second exposure is that from the clean image plus the variance of the second
    one's noise, a share s of the mean squared difference d of the two. How strong the noise is, is known to `_UNSURE`,
    u, so less is subtracted, and PSNR is at least what this returns; NaN where even so no error is left.

    Where y + a·n and y - n/a were made of one image, whose noise has the variance v, s is 1 / (1 + a²), and
    d·s·(1 - s) is the variance of n. If that is (1 + u)·v, an image that holds a share k of the noise of y seems better
    by u·v·(1 - 2k), and never by more than u·d·s·(1 - s) for k of 0 to 1. Of two exposures s = r / (1 + r), with r the
    noise of the second over that of the first, and d·s changes by u·d·s·(1 - s), which is u·v/2, where r changes by u.

    Parameters
    ----------
    second_noise : that share; a half for two exposures alike

    References
    ----------
    Lehtinen et al., ICML 2018; Batson & Royer, "Noise2Self", ICML 2019.
    """
    rows = []
    for result in applied:
        for ours, raw, other in zip(result.mean, result.raw, result.truth, strict=True):
            measure = by_exposure(noise_of_second(raw, other, second_noise) * (1 - _UNSURE * (1 - second_noise)))
            shown = (raw, best_gaussian(raw, other)[0], ours, best_total_variation(raw, other)[0])
            rows.append(tuple(Scores(float("nan"), measure(image, other), float("nan")) for image in shown))
    return _row("validation", rows)


def noise_of_second(raw: NDArray[Any], other: NDArray[Any], share: float = ALIKE) -> float:
    """Return the variance of the noise of a second exposure.

    Exposures that are `ALIKE` may differ in gain and offset, as by bleaching. The gain is the ratio of their standard
    deviations: that of a least-squares fit is too low, as the first exposure is noisy, too.
    """
    first, second = np.asarray(raw, np.float64), np.asarray(other, np.float64)
    if share == ALIKE:
        gain = second.std() / max(first.std(), 1e-12)
        first = gain * (first - first.mean()) + second.mean()
    return share * float(np.mean(np.square(first - second)))


def by_exposure(noise_variance: float) -> Measure:
    """Return how PSNR is estimated by a second exposure with that variance of noise, after the affine fit.

    The estimate is NaN where less than that noise is left. Of two images the better one by PSNR from the noisy second
    exposure is the better one by the estimate, too.
    """

    def measure(image: NDArray[Any], other: NDArray[Any]) -> float:
        fitted, normed = fit_affine(image, other)
        width = float(np.subtract(*np.percentile(other, (99.9, 0.1))))
        error = float(np.mean(np.square(fitted - normed))) - noise_variance / width**2
        return -10 * math.log10(error) if error > 0 else math.nan

    return measure


def evaluate(applied: Iterable[Applied], *, classical: bool = False) -> list[ScoreRow]:
    """Score every condition; raw and filters are left out (NaN) where the shapes of raw and truth differ.

    Parameters
    ----------
    classical : tune total variation, too; some ten seconds a volume
    """
    scores: dict[str, list[tuple[Scores, ...]]] = {}
    for result in applied:
        scores.setdefault(result.condition, []).extend(score_channels(result, classical=classical))
    return [_row(condition, each) for condition, each in scores.items()]


def score_channels(result: Applied, *, classical: bool = False) -> list[tuple[Scores, ...]]:
    """Return (raw, best Gaussian, ours), and the best of total variation if asked for, of each output channel."""
    rows: list[tuple[Scores, ...]] = []
    for c, (ours, truth) in enumerate(zip(result.mean, result.truth, strict=True)):
        raw = result.raw[min(c, len(result.raw) - 1)]
        shown, wanted, seen = (ours[0], truth[0], raw[0]) if len(truth) == 1 and len(raw) == 1 else (ours, truth, raw)
        row = (*_raw_scores(seen, wanted), _scored(shown, wanted))
        rows.append((*row, _filtered(seen, wanted)) if classical else row)
    return rows


def _raw_scores(raw: np.ndarray, truth: np.ndarray) -> tuple[Scores, Scores]:
    if raw.shape != truth.shape:
        return _NOTHING, _NOTHING
    return _scored(raw, truth), _scored(best_gaussian(raw, truth)[0], truth)


def _filtered(raw: np.ndarray, truth: np.ndarray) -> Scores:
    return _NOTHING if raw.shape != truth.shape else _scored(best_total_variation(raw, truth)[0], truth)


def _scored(image: NDArray[Any], truth: NDArray[Any]) -> Scores:
    """Score an image; against a truth that is the same everywhere there is no score."""
    try:
        return replace(score(image, truth), micro_ssim=micro_ssim(image, truth))
    except ConfigError:
        return _NOTHING


def _row(condition: str, rows: Sequence[tuple[Scores, ...]]) -> ScoreRow:
    raw, gaussian, ours, *others = (mean_of(column) for column in zip(*rows, strict=True))
    return ScoreRow(condition, len(rows), raw, gaussian, ours, *others)


def together(rows: Sequence[ScoreRow]) -> ScoreRow:
    """Return the scores over the volumes of all conditions."""
    weights = [row.n_volumes for row in rows]
    columns = ((row.raw, row.gaussian, row.ours, row.classical) for row in rows)
    means = [mean_of(column, weights) if all(column) else None for column in zip(*columns, strict=True)]
    raw, gaussian, ours, classical = means
    assert raw is not None and gaussian is not None and ours is not None
    return ScoreRow("all", sum(weights), raw, gaussian, ours, classical)


def mean_of(scores: Sequence[Scores | None], weights: Sequence[float] | None = None) -> Scores:
    """Average scores; PSNR in decibels."""
    values = np.average([astuple(one) for one in scores if one is not None], axis=0, weights=weights)
    return Scores(*(float(value) for value in values))


def best_gaussian(raw: NDArray[Any], truth: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Return the Gaussian-filtered image that is nearest to the truth, and its PSNR: a bar to clear, not a method.

    Widths are searched on a grid, laterally 0.5 to 4 px and axially 0 to 3 px, with the truth in hand.
    """
    from scipy.ndimage import gaussian_filter

    if truth.min() == truth.max():
        return raw.astype(np.float32), float("nan")
    shown, best = raw.astype(np.float32), (raw.astype(np.float32), -np.inf)
    for lateral in _WIDTHS_PX:
        for along_z in _WIDTHS_Z_PX if raw.ndim == 3 else (0.0,):
            sigma = (along_z, lateral, lateral) if raw.ndim == 3 else (lateral, lateral)
            filtered = gaussian_filter(shown, sigma)
            if (value := psnr_db(filtered, truth)) > best[1]:
                best = (filtered, value)
    return best


def best_total_variation(raw: NDArray[Any], truth: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Return the image of least total variation, after a root that evens out photon noise, and its PSNR.

    The weight is searched with the truth in hand. Nothing need be known of the camera: the root begins at the darkest
    pixels, and the noise is measured on neighbours.

    References
    ----------
    Chambolle, J. Math. Imaging Vis. 20 (2004), as scikit-image has it; Anscombe, Biometrika 35 (1948).
    """
    if truth.min() == truth.max():
        return raw.astype(np.float32), float("nan")
    root = _root(raw)

    def smoothed(weight: float) -> tuple[NDArray[np.float32], float]:
        image = _smoothed(root, weight)
        return image, psnr_db(image, truth)

    found = {weight: smoothed(weight) for weight in _WEIGHTS}
    for step in (2**0.5, 2**0.25):
        middle = max(found, key=lambda weight: found[weight][1])
        for weight in (middle / step, middle * step):
            found[weight] = smoothed(weight)
    return max(found.values(), key=lambda result: result[1])


def _root(raw: NDArray[Any]) -> NDArray[np.float32]:
    """Return the square root above the darkest pixels, in units of its noise."""
    above = np.clip(raw.astype(np.float32) - np.percentile(raw, 0.1), 0, None)
    root = np.sqrt(above)
    noise = 1.4826 * np.median(np.abs(np.diff(root, axis=-1))) / 2**0.5
    return np.asarray(root / max(float(noise), 1e-6 * float(root.max()), 1e-12), np.float32)


def _smoothed(root: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    from skimage.restoration import denoise_tv_chambolle

    smooth = denoise_tv_chambolle(root, weight=weight, max_num_iter=_N_ITERATIONS)
    return np.asarray(np.square(smooth), np.float32)
