"""Scores of a network by the paper's metric, beside the raw image and the best Gaussian filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from care_live.training.applied import Applied
from care_live.training.score import Score, best_gaussian, score


@dataclass(frozen=True, slots=True)
class Row:
    """One condition: means over its volumes and channels."""

    condition: str
    n_volumes: int
    raw: Score
    gaussian: Score
    """The best Gaussian filter, tuned with the truth."""
    ours: Score


def evaluate(applied: Iterable[Applied]) -> list[Row]:
    """Score every condition; raw and Gaussian are left out (NaN) where the shapes of raw and truth differ."""
    scores: dict[str, list[tuple[Score, Score, Score]]] = {}
    for result in applied:
        scores.setdefault(result.condition, []).extend(score_channels(result))
    return [_row(condition, triples) for condition, triples in scores.items()]


def score_channels(result: Applied) -> list[tuple[Score, Score, Score]]:
    """Return (raw, best Gaussian, ours) of each output channel."""
    triples = []
    for c, (ours, truth) in enumerate(zip(result.mean, result.truth, strict=True)):
        raw = result.raw[min(c, len(result.raw) - 1)]
        planes = (ours[0], truth[0], raw[0]) if len(truth) == 1 and len(raw) == 1 else (ours, truth, raw)
        triples.append((*_raw_scores(planes[2], planes[1]), score(planes[0], planes[1])))
    return triples


def _raw_scores(raw: np.ndarray, truth: np.ndarray) -> tuple[Score, Score]:
    if raw.shape != truth.shape:
        nothing = Score(float("nan"), float("nan"), float("nan"))
        return nothing, nothing
    return score(raw, truth), score(best_gaussian(raw, truth)[0], truth)


def _row(condition: str, triples: Sequence[tuple[Score, Score, Score]]) -> Row:
    raw, gaussian, ours = (mean_of([triple[part] for triple in triples]) for part in range(3))
    return Row(condition, len(triples), raw, gaussian, ours)


def mean_of(scores: Sequence[Score]) -> Score:
    """Average scores; PSNR in decibels."""
    values = np.mean([(one.nrmse, one.psnr_db, one.ssim) for one in scores], axis=0)
    return Score(*(float(value) for value in values))
