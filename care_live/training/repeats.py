"""Noise2Noise: exposures of the same planes, checked, as examples that need no clean image."""

from __future__ import annotations

from dataclasses import replace

from care_live.training.data_recipe import ExposuresData, PairsData
from care_live.training.examples import Data, Example, PairedVolume, RepeatedVolume, Tell, find_foreground
from care_live.training.measured_noise import correlation_of_repeats, pattern_of_repeats
from care_live.training.pairs import gather_pairs
from care_live.training.recipe import Recipe

_SMOOTH_PX = 2.0
"""Foreground of a noisy image is looked for in a smooth one."""


def gather_exposures(data: ExposuresData, recipe: Recipe, tell: Tell) -> Data:
    """Match the files of every exposure by name, and check each against the last one.

    Raises
    ------
    TrainingError
        A file has no partner, another shape, too many channels, NaN, one value only, or is shifted; names it.
    """
    *firsts, last = data.exposures
    pairs = PairsData(inputs=tuple(firsts), target=(last,), **data.model_dump(exclude={"kind", "exposures"}))
    gathered = gather_pairs(pairs, recipe, tell)
    parts = [[_repeated(one) for one in part] for part in (gathered.training, gathered.validation)]
    repeats = [one.images for part in parts for one in part]
    noise, pattern_sd = correlation_of_repeats(repeats), pattern_of_repeats(repeats)
    training, validation = (
        [replace(one, pattern_sd=pattern_sd, is_white=noise.is_white) for one in part] for part in parts
    )
    return Data(training, validation, turns=gathered.turns, second_noise=0.5, target_unit="counts", noise=noise)


def _repeated(volume: Example) -> RepeatedVolume:
    assert isinstance(volume, PairedVolume)
    return RepeatedVolume(
        name=volume.name,
        file=volume.file,
        images=[*volume.inputs, volume.target],
        spans=[*volume.input_spans, volume.target_span],
        foreground=find_foreground(volume.inputs[0], n_axes=volume.inputs[0].ndim - 1, smooth_px=_SMOOTH_PX),
    )
