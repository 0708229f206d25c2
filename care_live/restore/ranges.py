"""Which intensity range a volume of a time-lapse gets: causal, and nothing hidden.

A range measured anew on each volume flickers: one bright object that appears elsewhere moves the whole
picture. So a range is fixed, locked after some volumes, or follows slowly; the state is a value that goes
in and comes out, one for every position and channel, and survives a restart with the process that holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from care_live.config import NormaliseConfig
from care_live.errors import ConfigError
from care_live.images import Counts, Volume, VolumeKey
from care_live.live_frame import LIVE_POSITION
from care_live.model.card import ModelCard
from care_live.percentiles import Histogram, Span, is_counts, measure, span_of
from care_live.restore.geometry import fill_missing, received, upsample_z
from care_live.restore.repair import Maps

_SMALLEST = float(np.finfo(np.float32).tiny)
_LIVE_WEIGHT = 0.05
"""Of the newest frame in the range of Live: at 20 frames a second it follows within a second."""


@dataclass(frozen=True, slots=True)
class LearntRange:
    """What earlier volumes of one position and channel have taught."""

    span: Span | None = None
    """The range that the last volume got; None before the first."""
    n_measured: int = 0
    """Volumes that had signal."""


LearntRanges: TypeAlias = Mapping[tuple[int, int], LearntRange]
"""By position and channel."""


@dataclass(frozen=True, slots=True)
class RangeChoice:
    """The range of one volume, and what later ones need of it."""

    span: Span
    memory: LearntRange
    empty: bool
    """The measured range was below the noise floor, so the previous one is used."""


def choose(memory: LearntRange, measured: Span, config: NormaliseConfig) -> RangeChoice:
    """Choose the range of the next volume.

    Parameters
    ----------
    memory : of the same position and channel
    measured : percentiles of this volume

    Raises
    ------
    ConfigError
        Mode *fixed* without a range.
    """
    empty = measured.high - measured.low < config.noise_floor_counts
    if config.mode == "fixed":
        return RangeChoice(fixed_span(config), memory, empty)
    if empty:
        return RangeChoice(memory.span or _at_least(measured, config.noise_floor_counts), memory, empty)
    span = _follow(memory, measured, config)
    return RangeChoice(span, LearntRange(span, memory.n_measured + 1), empty)


def choose_each(
    card: ModelCard,
    volumes: Sequence[Volume],
    histograms: Sequence[Histogram | None],
    memories: LearntRanges,
    *,
    config: NormaliseConfig,
) -> dict[tuple[int, int], RangeChoice]:
    """Return the range of each channel of a time point, by position and channel, and what it teaches.

    Parameters
    ----------
    histograms : of each channel, as `geometry.gather` counts them
    memories : of the volumes before
    """
    choices = {}
    for volume, counts in zip(volumes, histograms, strict=True):
        place = (volume.key.p, volume.key.c)
        before, span = memories.get(place, LearntRange()), measured(card, volume, counts)
        choices[place] = choose(before, span, settings_for(volume, config))
    return choices


def measured(card: ModelCard, volume: Volume, counts: Histogram | None) -> Span:
    """Return the range that the card's kind of normalisation takes from a volume.

    Parameters
    ----------
    counts : histogram of the planes that came; None: the pixels are no camera counts
    """
    if card.normalisation == "none":
        return Span(0.0, 1.0)
    if card.upsampled != "raw-range":
        return _of_upsampled(card, fill_missing(volume.pixels, volume.integrity))
    if counts is None:
        return _of_numbers(card, received(volume.pixels, volume.integrity))
    if card.normalisation == "zero-mean-unit-variance":
        levels = np.arange(len(counts))
        mean = float(np.average(levels, weights=counts))
        return Span(mean, mean + float(np.sqrt(np.average((levels - mean) ** 2, weights=counts))))
    return span_of(counts, card.low_percentile, card.high_percentile)


def _of_numbers(card: ModelCard, pixels: Counts) -> Span:
    if card.normalisation == "zero-mean-unit-variance":
        mean = float(pixels.mean(dtype=np.float64))
        return Span(mean, mean + float(pixels.std(dtype=np.float64)))
    return measure(pixels, card.low_percentile, card.high_percentile)


def _of_upsampled(card: ModelCard, pixels: Counts) -> Span:
    """Return the range of what the network sees; of counts to half a count, by their histogram."""
    upsampled = upsample_z(pixels[np.newaxis], card.factor, whole_counts=is_counts(pixels))
    seen = upsampled.astype(pixels.dtype) if is_counts(pixels) else upsampled
    return measure(seen[0], card.low_percentile, card.high_percentile)


def known_before(memory: LearntRange, config: NormaliseConfig) -> Span | None:
    """Return the range that a volume will get whatever its pixels, or None while that is open."""
    if config.mode == "fixed":
        return fixed_span(config)
    if config.mode == "locked-after-k" and memory.n_measured >= config.lock_after_volumes:
        return memory.span
    return None


def known_spans(
    memories: LearntRanges,
    key: VolumeKey,
    n_channels: int,
    config: NormaliseConfig | None,
    *,
    order: Sequence[int] = (),
) -> dict[int, Span | None]:
    """Return, of each c that a network of n channels takes, the range that it will get.

    Parameters
    ----------
    memories : by position and channel; after the first volumes their channels are those that the network takes
    key : of a volume that has just begun
    config : None: no range is known before its volume
    order : channels that the network takes, where that is known

    Returns
    -------
    In the order of the network; empty while its channels are not known, or where this channel is not among them.
    """
    learnt = sorted(c for p, c in memories if p == key.p)
    channels = [key.c] if n_channels == 1 else list(order) or learnt
    if len(channels) != n_channels or key.c not in channels:
        return {}
    return {c: known_before(memories.get((key.p, c), LearntRange()), config) if config else None for c in channels}


def undo_around(card: ModelCard, spans: Sequence[Span], maps: Maps) -> None:
    """Map a foreign network's normalised output back to camera counts, in place, where its card says counts."""
    if card.normalisation in {"in-graph", "none"} or card.output != "counts" or len(spans) != len(card.channels_out):
        return
    for c, span in enumerate(spans):
        maps["mean"][c] *= np.float32(span.width)
        maps["mean"][c] += np.float32(span.low)
        if "laplace_scale" in maps:
            maps["laplace_scale"][c] *= np.float32(span.width)


def settings_for(volume: Volume, config: NormaliseConfig) -> NormaliseConfig:
    """Return how the range of a volume is chosen: a floor in camera counts means nothing for floating-point pixels.

    In Live a person searches and focuses, so the range follows slowly, unless it is fixed.
    """
    if volume.key.p == LIVE_POSITION and config.mode != "fixed":
        return config.model_copy(update={"mode": "ema", "ema_weight": _LIVE_WEIGHT})
    if volume.pixels.dtype.kind != "f":
        return config
    return config.model_copy(update={"noise_floor_counts": _SMALLEST})


def fixed_span(config: NormaliseConfig) -> Span:
    """Return the configured range; refuse one that is missing or upside down."""
    if config.low_counts is None or config.high_counts is None or config.high_counts <= config.low_counts:
        raise ConfigError(
            f"normalise.mode is 'fixed' with low_counts = {config.low_counts} and high_counts = "
            f"{config.high_counts}: set both, the second above the first"
        )
    return Span(config.low_counts, config.high_counts)


def _follow(memory: LearntRange, measured: Span, config: NormaliseConfig) -> Span:
    """Return the new range; until the lock it is the mean of all so far."""
    if memory.span is None or config.mode == "per-volume":
        return measured
    if config.mode == "ema":
        return _mix(memory.span, measured, config.ema_weight)
    if memory.n_measured >= config.lock_after_volumes:
        return memory.span
    return _mix(memory.span, measured, 1.0 / (memory.n_measured + 1))


def _mix(old: Span, new: Span, weight: float) -> Span:
    return Span(old.low + weight * (new.low - old.low), old.high + weight * (new.high - old.high))


def _at_least(span: Span, width: float) -> Span:
    """Return a range wide enough not to blow up the noise of an empty first volume."""
    return Span(span.low, max(span.high, span.low + max(width, 1.0)))
