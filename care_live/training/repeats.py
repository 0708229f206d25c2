"""Noise2Noise: exposures of the same planes, checked, as examples that need no clean image."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from care_live.training.data_recipe import ExposuresData, PairsData
from care_live.training.examples import Data, PairedVolume, RepeatedVolume, Tell, find_foreground
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
    pairs = PairsData(inputs=tuple(firsts), target=last, **data.model_dump(exclude={"kind", "exposures"}))
    gathered = gather_pairs(pairs, recipe, tell)
    training, validation = ([_repeated(one) for one in part] for part in (gathered.training, gathered.validation))
    return Data(training, validation, turns=gathered.turns, second_noise=0.5)


def _repeated(volume: object) -> RepeatedVolume:
    assert isinstance(volume, PairedVolume)
    return RepeatedVolume(
        name=volume.name,
        file=volume.file,
        images=[*volume.inputs, volume.target],
        spans=[*volume.input_spans, volume.target_span],
        foreground=_bright(volume),
    )


def _bright(volume: PairedVolume) -> np.ndarray:
    """Return foreground voxels by a smooth image: the brightest noise is no foreground."""
    image = np.asarray(volume.inputs[0][:], np.float32)
    lateral = (*[0.0] * (image.ndim - 2), _SMOOTH_PX, _SMOOTH_PX)
    return find_foreground(ndimage.gaussian_filter(image, lateral), n_axes=image.ndim - 1)
