"""Coverage of a network's intervals, and a monotone recalibration that its card keeps.

Half of the volumes, by volume, fix the factors; the other half say whether they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import TrainingError
from care_live.model import reliability
from care_live.model.card import Calibration
from care_live.training.inference import Applied

_VOXELS_A_VOLUME = 400_000


@dataclass(frozen=True, slots=True)
class Reliability:
    """What intervals promise and what they hold, on volumes that did not fix the factors."""

    calibration: Calibration
    before_ece: float
    after_ece: float
    nll: float
    """Negative log likelihood, nats per voxel, normalised units."""
    error_by_disagreement: tuple[float, ...] = ()
    """Mean absolute error in each decile of D, lowest first; empty without an ensemble."""


def calibrate(applied: Sequence[Applied]) -> Reliability:
    """Fix the factors on every other volume and check them on the rest.

    Raises
    ------
    TrainingError
        Fewer than two volumes, or a network without a Laplace scale.
    """
    names = list(dict.fromkeys(result.name for result in applied))
    if len(names) < 2:
        raise TrainingError(f"{len(names)} volumes came; calibration needs two: one to fix the factors, one to check")
    first = set(names[::2])
    used = _gathered([result for result in applied if result.name in first])
    unseen = _gathered([result for result in applied if result.name not in first])
    fixed = reliability.fit_calibration(*used)
    before = reliability.coverage(*unseen)
    after = reliability.coverage(*unseen, calibration=fixed)
    calibration = fixed.model_copy(update={"observed_before": before, "observed_after": after})
    return Reliability(
        calibration=calibration,
        before_ece=reliability.calibration_error(reliability.LEVELS, before),
        after_ece=reliability.calibration_error(reliability.LEVELS, after),
        nll=reliability.negative_log_likelihood(*unseen),
        error_by_disagreement=error_by_disagreement(applied),
    )


def as_trained(applied: Sequence[Applied]) -> tuple[float, ...]:
    """Return the observed coverage of uncalibrated intervals at `reliability.LEVELS`; empty without a scale."""
    if any(result.laplace_scale is None for result in applied):
        return ()
    return reliability.coverage(*_gathered(applied))


def error_by_disagreement(applied: Sequence[Applied]) -> tuple[float, ...]:
    """Return the mean absolute error in each decile of D, lowest first."""
    pairs = [(result.truth - result.mean, result.disagreement) for result in applied]
    if any(disagreement is None for _, disagreement in pairs):
        return ()
    errors = np.concatenate([np.abs(_thinned(error)) for error, _ in pairs])
    ranks = np.argsort(np.concatenate([_thinned(disagreement) for _, disagreement in pairs]))
    return tuple(float(errors[part].mean()) for part in np.array_split(ranks, 10))


def _gathered(applied: Sequence[Applied]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (errors, scales) of an even sample of voxels."""
    errors, scales = [], []
    for result in applied:
        if result.laplace_scale is None:
            raise TrainingError("this network gives no Laplace scale, so there are no intervals to calibrate")
        errors.append(_thinned(result.truth - result.mean))
        scales.append(_thinned(result.laplace_scale))
    return np.concatenate(errors), np.concatenate(scales)


def _thinned(image: NDArray[Any] | None) -> NDArray[Any]:
    assert image is not None
    flat = image.ravel()
    return flat[:: max(1, flat.size // _VOXELS_A_VOLUME)].astype(np.float64)
