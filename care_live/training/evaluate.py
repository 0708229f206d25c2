"""Scores of a network by the paper's metric, beside the raw image and the best Gaussian filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError
from care_live.metrics import Scores, psnr_db, score
from care_live.training.inference import Applied

_NOTHING = Scores(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One condition: means over its volumes and channels."""

    condition: str
    n_volumes: int
    raw: Scores
    gaussian: Scores
    """The best Gaussian filter, tuned with the truth."""
    ours: Scores


def evaluate(applied: Iterable[Applied]) -> list[ScoreRow]:
    """Scores every condition; raw and Gaussian are left out (NaN) where the shapes of raw and truth differ."""
    scores: dict[str, list[tuple[Scores, Scores, Scores]]] = {}
    for result in applied:
        scores.setdefault(result.condition, []).extend(score_channels(result))
    return [_row(condition, triples) for condition, triples in scores.items()]


def score_channels(result: Applied) -> list[tuple[Scores, Scores, Scores]]:
    """Return (raw, best Gaussian, ours) of each output channel."""
    triples = []
    for c, (ours, truth) in enumerate(zip(result.mean, result.truth, strict=True)):
        raw = result.raw[min(c, len(result.raw) - 1)]
        planes = (ours[0], truth[0], raw[0]) if len(truth) == 1 and len(raw) == 1 else (ours, truth, raw)
        triples.append((*_raw_scores(planes[2], planes[1]), _scored(planes[0], planes[1])))
    return triples


def _raw_scores(raw: np.ndarray, truth: np.ndarray) -> tuple[Scores, Scores]:
    if raw.shape != truth.shape:
        return _NOTHING, _NOTHING
    return _scored(raw, truth), _scored(best_gaussian(raw, truth)[0], truth)


def _scored(image: NDArray[Any], truth: NDArray[Any]) -> Scores:
    """Score an image; against a truth that is the same everywhere there is no score."""
    try:
        return score(image, truth)
    except ConfigError:
        return _NOTHING


def _row(condition: str, triples: Sequence[tuple[Scores, Scores, Scores]]) -> ScoreRow:
    raw, gaussian, ours = (mean_of([triple[part] for triple in triples]) for part in range(3))
    return ScoreRow(condition, len(triples), raw, gaussian, ours)


def mean_of(scores: Sequence[Scores]) -> Scores:
    """Average scores; PSNR in decibels."""
    values = np.mean([(one.nrmse, one.psnr_db, one.ssim) for one in scores], axis=0)
    return Scores(*(float(value) for value in values))


def best_gaussian(raw: NDArray[Any], truth: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Return the Gaussian-filtered image that is nearest to the truth, and its PSNR: a bar to clear, not a method.

    Widths are searched on a grid, laterally 0.5 to 4 px and axially 0 to 3 px, with the truth in hand.
    """
    from scipy.ndimage import gaussian_filter

    if truth.min() == truth.max():
        return raw.astype(np.float32), float("nan")
    shown, best = raw.astype(np.float32), (raw.astype(np.float32), -np.inf)
    axial = (0.0, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0) if raw.ndim == 3 else (0.0,)
    for lateral in (0.5, 0.7, 0.9, 1.1, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0):
        for along_z in axial:
            sigma = (along_z, lateral, lateral) if raw.ndim == 3 else (lateral, lateral)
            filtered = gaussian_filter(shown, sigma)
            if (value := psnr_db(filtered, truth)) > best[1]:
                best = (filtered, value)
    return best
