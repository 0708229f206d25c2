"""From a recipe to examples: pairs on disk, sharp planes to be degraded, or simulated specimens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from care_live.training.data.examples import Data, Example, PairedVolume, RepeatedVolume, Tell
from care_live.training.data.lateral_slices import gather_degraded
from care_live.training.data.noisy import NoisyVolume, RecorruptedVolume, gather_exposures, gather_noisy
from care_live.training.data.pairs import gather_pairs, in_counts
from care_live.training.data.past_frames import Moment, before, refuse_stills
from care_live.training.data.simulated import gather_blurred, gather_simulated
from care_live.training.recipe import Recipe

TimeFrame: TypeAlias = PairedVolume | RepeatedVolume | NoisyVolume


def gather(recipe: Recipe, tell: Tell = lambda name: None) -> Data:
    """Read or simulate the volumes of a recipe.

    Raises
    ------
    TrainingError
        A file is missing, broken, unpaired, of another shape, shifted, constant or not finite; names it.
    """
    return in_time(_gathered(recipe, tell), recipe.network.past)


def in_time(data: Data, n_past: int) -> Data:
    """Return examples that have the frames before them, where the network reads these.

    Raises
    ------
    TrainingError
        None has an earlier one.
    """
    if not n_past:
        return data
    parts = (data.training, data.validation, data.judged or ())
    frames = [frame for part in parts for one in part if (frame := _frame_of(one)) is not None]
    by_moment = {frame.moment: frame for frame in frames if frame.moment is not None}
    training, validation, judged = ([_linked(one, n_past, by_moment) for one in part] for part in parts)
    refuse_stills(sum(any(getattr(_frame_of(one), "earlier", ())) for one in training))
    return replace(data, training=training, validation=validation, judged=None if data.judged is None else judged)


def _frame_of(example: Example) -> TimeFrame | None:
    """Return what may be a frame of a time-lapse: an example, or what it makes noisier."""
    one = example.volume if isinstance(example, RecorruptedVolume) else example
    return one if isinstance(one, PairedVolume | RepeatedVolume | NoisyVolume) else None


def _linked(example: Example, n_past: int, by_moment: Mapping[Moment, TimeFrame]) -> Example:
    frame = _frame_of(example)
    if frame is None:
        return example
    earlier: Any = before(frame, n_past, by_moment)
    linked = replace(frame, earlier=earlier)
    if isinstance(example, RecorruptedVolume):
        assert isinstance(linked, NoisyVolume)
        return replace(example, volume=linked)
    return linked


def _gathered(recipe: Recipe, tell: Tell) -> Data:
    match recipe.data.kind:
        case "simulated":
            return gather_simulated(recipe.data, recipe, tell)
        case "deconvolve":
            return gather_blurred(recipe.data, recipe, tell)
        case "pairs":
            return in_counts(gather_pairs(recipe.data, recipe, tell), seed=recipe.seed)
        case "exposures":
            return gather_exposures(recipe.data, recipe, tell)
        case "noisy":
            return gather_noisy(recipe.data, recipe, tell)
        case "isotropic" | "upsample":
            return gather_degraded(recipe.data, recipe, tell)
