"""What a card says of how far a network is right: the coverage of its intervals, and limits for the trust light.

Each volume is judged with factors that the other volumes fixed: a recalibration that holds only on the volumes that
fixed it is found, and is not stored. A mean that is off is reported apart from widths that are wrong, since wider
intervals hide the first and mend the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from care_live.errors import TrainingError
from care_live.model import reliability
from care_live.model.card import Calibration, ModelCard
from care_live.restore.engine import Engine
from care_live.training.evaluation.inference import Applied, as_volume
from care_live.trust import limits_fit as limits

_VOXELS_A_VOLUME = 400_000
_MAX_FOLDS = 10
_FAITHFUL_ECE = 0.03
"""Below it there is nothing to explain."""
_MIN_SLOPE = 0.05


@dataclass(frozen=True, slots=True)
class Judged:
    """One volume, or several, whose intervals were checked with factors that came from the others."""

    names: tuple[str, ...]
    before: tuple[float, ...]
    """Observed coverage at `reliability.LEVELS` with what the card holds today."""
    after: tuple[float, ...]

    @property
    def before_ece(self) -> float:
        """Return the calibration error with what the card holds today."""
        return reliability.calibration_error(reliability.LEVELS, self.before)

    @property
    def after_ece(self) -> float:
        """Return the calibration error with the new factors."""
        return reliability.calibration_error(reliability.LEVELS, self.after)


@dataclass(frozen=True, slots=True)
class Bias:
    """How far the means are off, apart from noise: truth = gain · mean + offset, by least squares."""

    gain: float
    offset: float
    """In the normalised range, 0 to 1."""
    ece_without: float
    """Calibration error of today's intervals around gain · mean + offset of each volume."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Nominal and observed coverage of the intervals, on volumes that did not fix the factors."""

    calibration: Calibration
    """Fixed on all volumes; its observed coverages are those of volumes that fixed nothing."""
    judged: tuple[Judged, ...]
    bias: Bias
    nll: float
    """Negative log likelihood, nats per voxel, normalised units."""
    error_by_disagreement: tuple[float, ...] = ()
    """Mean absolute error in each decile of D, lowest first; empty without an ensemble."""

    @property
    def before_ece(self) -> float:
        """Return the mean over volumes of the calibration error with what the card holds today."""
        return float(np.mean([one.before_ece for one in self.judged]))

    @property
    def after_ece(self) -> float:
        """Return the mean over volumes of the calibration error with the new factors."""
        return float(np.mean([one.after_ece for one in self.judged]))

    @property
    def is_better(self) -> bool:
        """Tell whether the new factors hold better, on average and on most volumes."""
        n_better = sum(one.after_ece < one.before_ece for one in self.judged)
        return self.after_ece < self.before_ece and 2 * n_better > len(self.judged)

    @property
    def is_biased(self) -> bool:
        """Tell whether means that are off explain more than half of the calibration error."""
        return self.before_ece > _FAITHFUL_ECE and self.bias.ece_without < self.before_ece / 2


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """An even sample of the voxels of one or several volumes."""

    names: tuple[str, ...]
    truth: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @property
    def errors(self) -> NDArray[np.float64]:
        return self.truth - self.mean


def calibrate(applied: Sequence[Applied], current: Calibration | None = None) -> Reliability:
    """Fix the factors on all volumes, and judge each volume with factors that the other ones fixed.

    Parameters
    ----------
    current : what the card holds today; the new factors must be better than it

    Raises
    ------
    TrainingError
        Fewer than two volumes, or a network without a Laplace scale.
    """
    names = list(dict.fromkeys(result.name for result in applied))
    if len(names) < 2:
        raise TrainingError(
            f"calibration needs two volumes, one to fix the factors and one to check: {len(names)} came"
        )
    folds = [names[n :: min(len(names), _MAX_FOLDS)] for n in range(min(len(names), _MAX_FOLDS))]
    samples = [_sampled([result for result in applied if result.name in fold]) for fold in folds]
    judged = tuple(_judge(samples, n, current) for n in range(len(samples)))
    together = _joined(samples)
    before, after = (np.mean([getattr(one, when) for one in judged], axis=0) for when in ("before", "after"))
    fixed = reliability.fit_calibration(together.errors, together.scale)
    return Reliability(
        calibration=fixed.model_copy(
            update={"observed_before": tuple(map(float, before)), "observed_after": tuple(map(float, after))}
        ),
        judged=judged,
        bias=_bias(samples, current),
        nll=reliability.negative_log_likelihood(together.errors, together.scale),
        error_by_disagreement=error_by_disagreement(applied),
    )


def _judge(samples: Sequence[_Sample], n: int, current: Calibration | None) -> Judged:
    """Judge sample n with factors that the other samples fix."""
    others = _joined([*samples[:n], *samples[n + 1 :]])
    fixed = reliability.fit_calibration(others.errors, others.scale)
    own = samples[n]
    before, after = (reliability.coverage(own.errors, own.scale, calibration=one) for one in (current, fixed))
    return Judged(own.names, before, after)


def _bias(samples: Sequence[_Sample], current: Calibration | None) -> Bias:
    together = _joined(samples)
    gain, offset = _line(together)
    without = []
    for one in samples:
        own_gain, own_offset = _line(one)
        errors = one.truth - own_gain * one.mean - own_offset
        observed = reliability.coverage(errors, own_gain * one.scale, calibration=current)
        without.append(reliability.calibration_error(reliability.LEVELS, observed))
    return Bias(gain, offset, float(np.mean(without)))


def _line(sample: _Sample) -> tuple[float, float]:
    """Return (gain, offset) of truth = gain · mean + offset.

    The line of the mean over the truth is fitted, and turned round: the noise is in the mean, and noise in the
    abscissa would flatten the line. A mean that does not follow the truth gets its offset alone.
    """
    truth, mean = sample.truth - sample.truth.mean(), sample.mean - sample.mean.mean()
    spread = float(np.mean(truth**2))
    slope = float(np.mean(truth * mean)) / spread if spread > 0 else 0.0
    gain = 1 / slope if slope > _MIN_SLOPE else 1.0
    return gain, float(sample.truth.mean() - gain * sample.mean.mean())


def as_trained(applied: Sequence[Applied]) -> tuple[float, ...]:
    """Return the observed coverage of uncalibrated intervals at `reliability.LEVELS`; empty without a scale."""
    if any(result.laplace_scale is None for result in applied):
        return ()
    together = _sampled(applied)
    return reliability.coverage(together.errors, together.scale)


def error_by_disagreement(applied: Sequence[Applied]) -> tuple[float, ...]:
    """Return the mean absolute error in each decile of D, lowest first."""
    pairs = [(result.truth - result.mean, result.disagreement) for result in applied]
    if any(disagreement is None for _, disagreement in pairs):
        return ()
    errors = np.concatenate([np.abs(_thinned(error)) for error, _ in pairs])
    ranks = np.argsort(np.concatenate([_thinned(disagreement) for _, disagreement in pairs]))
    return tuple(float(errors[part].mean()) for part in np.array_split(ranks, 10))


def _sampled(applied: Sequence[Applied]) -> _Sample:
    """Return an even sample of the voxels of some volumes."""
    sampled: list[tuple[NDArray[np.float64], ...]] = []
    for result in applied:
        if result.laplace_scale is None:
            raise TrainingError("this network gives no Laplace scale, so there are no intervals to calibrate")
        sampled.append(tuple(_thinned(image) for image in (result.truth, result.mean, result.laplace_scale)))
    names = tuple(dict.fromkeys(result.name for result in applied))
    return _Sample(names, *(np.concatenate(parts) for parts in zip(*sampled, strict=True)))


def _joined(samples: Sequence[_Sample]) -> _Sample:
    truth, mean, scale = (np.concatenate([getattr(one, key) for one in samples]) for key in ("truth", "mean", "scale"))
    return _Sample(tuple(name for one in samples for name in one.names), truth, mean, scale)


def _thinned(image: NDArray[Any] | None) -> NDArray[Any]:
    assert image is not None
    flat = image.ravel()
    return flat[:: max(1, flat.size // _VOXELS_A_VOLUME)].astype(np.float64)


def with_limits(card: ModelCard, engine: Engine, raws: Iterable[NDArray[Any]]) -> ModelCard:
    """Return a card with evidence limits and domain features; unchanged where too few volumes show them.

    Parameters
    ----------
    engine : of the network, a range of its own for every volume
    raws : (c, z, y, x) counts of the kind that the network is made for, which it restores well
    """
    seen = [one for raw in raws for one in _looked_at(card, engine, raw)]
    if len(seen) < limits.ENOUGH_VOLUMES:
        return card
    return _with_features(card, seen).model_copy(update={"evidence": limits.limits_of(seen, card.evidence)})


def with_features(card: ModelCard, engine: Engine, raws: Iterable[NDArray[Any]], *, origin: str = "") -> ModelCard:
    """Return a card with domain features alone: how well the network restores these volumes is not known.

    Parameters
    ----------
    origin : where the volumes are from, in words
    """
    return _with_features(card, [one for raw in raws for one in _looked_at(card, engine, raw)], origin)


def _with_features(card: ModelCard, seen: Sequence[limits.Harmless], origin: str = "") -> ModelCard:
    found = limits.domain_of(seen)
    if found is None:
        return card
    training = card.training.model_copy(update={"features": found.model_copy(update={"origin": origin})})
    return card.model_copy(update={"training": training})


def _looked_at(card: ModelCard, engine: Engine, raw: NDArray[Any]) -> list[limits.Harmless]:
    size_um = card.voxel_size_um or (1.0, 1.0, 1.0)
    stack = raw if raw.ndim == 4 else raw[:, np.newaxis]
    volumes = [replace(as_volume(channel, c), voxel_size_um=size_um) for c, channel in enumerate(stack)]
    return [one for result in engine.restore(volumes) if (one := limits.look_at(result, card)) is not None]
