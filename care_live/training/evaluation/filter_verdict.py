"""The verdict on a network: is it better than a filter on its validation volumes, and if not, what may help?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from care_live.metrics import Scores
from care_live.model.card import ImageScores, NetworkVerdict
from care_live.training.checkpoint import TrainingHistory
from care_live.training.evaluation.evaluate import ScoreRow

FILE = "verdict.json"
_FEW_IMAGES, _FEW_UPDATES = 4, 300
_MODEST_DB = 1.5
"""Over the filter: a network that has learnt from enough volumes reaches that on nearly every specimen."""
_HARDLY_NOISY_DB = 1.0
"""What the best filter gains on images that hold hardly any noise; 4 to 10 dB where a network is worth it."""
_STILL_FALLING = 0.75
"""A best validation after this share of a run: it was not over."""


def verdict_of(
    row: ScoreRow, histories: Sequence[TrainingHistory], *, n_training: int, estimated: bool = False
) -> NetworkVerdict | None:
    """Return the verdict on a network by its scores, with what may help; None as for `of_scores`.

    Parameters
    ----------
    row : of all validation volumes
    n_training : images that the network has learnt from
    estimated : the scores are estimates from second exposures
    """
    verdict = of_scores(row, estimated=estimated)
    if verdict is None:
        return None
    if verdict.is_doubtful:
        if verdict.advice:
            return verdict
        return verdict.model_copy(update={"advice": advice(histories, n_training=n_training)})
    if verdict.gain_db < _MODEST_DB and n_training < _FEW_IMAGES:
        images = "1 image" if n_training == 1 else f"{n_training} images"
        return verdict.model_copy(update={"advice": f"it has learnt from {images} only; more may help"})
    return verdict


def of_scores(row: ScoreRow, *, estimated: bool = False) -> NetworkVerdict | None:
    """Return the verdict on a network; None where raw and truth differ in shape, or an estimate leaves no error."""
    scores = (row.raw, row.gaussian, row.classical, row.ours)
    if any(one is None or not math.isfinite(one.psnr_db) for one in scores):
        return None
    raw, gaussian, classical, network = (_as_stored(one) for one in scores if one is not None)
    verdict = NetworkVerdict(
        n_images=row.n_volumes,
        raw=raw,
        gaussian=gaussian,
        classical=classical,
        network=network,
        measured_with="second exposure" if estimated else "target",
    )
    if verdict.is_doubtful and max(gaussian.psnr_db, classical.psnr_db) < raw.psnr_db + _HARDLY_NOISY_DB:
        return verdict.model_copy(update={"advice": "the raw images hold hardly any noise, they need no network"})
    return verdict


def advice(histories: Sequence[TrainingHistory], *, n_training: int) -> str:
    """Return what may help a network that is worse than a filter."""
    late = any(_place_of_best(history) > _STILL_FALLING or _n_updates(history) < _FEW_UPDATES for history in histories)
    parts = ["more time"] if late else []
    if n_training < _FEW_IMAGES or not late:
        parts.append("more volumes")
    return "use " + " and ".join(parts)


def _place_of_best(history: TrainingHistory) -> float:
    """Return after which share of the validations the best one came."""
    if not history.judged:
        return 1.0
    return (history.judged.index(min(history.judged)) + 1) / len(history.judged)


def _n_updates(history: TrainingHistory) -> int:
    return history.update[-1] if history.update else 0


def _as_stored(scores: Scores) -> ImageScores:
    return ImageScores(
        psnr_db=round(scores.psnr_db, 2), ssim=round(scores.ssim, 3) if math.isfinite(scores.ssim) else None
    )


def save(run: Path, verdict: NetworkVerdict | None) -> None:
    """Keep the verdict in the folder of a run, for its export; None: that of an earlier run is deleted."""
    if verdict is None:
        (run / FILE).unlink(missing_ok=True)
        return
    (run / FILE).write_text(verdict.model_dump_json(indent=2), encoding="utf-8")


def load(run: Path) -> NetworkVerdict | None:
    """Return the verdict of a run, if it has one."""
    path = run / FILE
    return NetworkVerdict.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None
