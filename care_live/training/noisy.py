"""Training without a clean image: by two exposures or more of the same planes, or by noisy images and nothing else.

Two exposures are matched and checked as pairs are (Noise2Noise). Of noisy images alone a network learns in one of two
ways. Where the noise can be measured, and each pixel's is its own, an image becomes two with independent noise, see
`noisy_volumes`. Else pixels are hidden from the network, which predicts them from those around them (Noise2Void): some
are replaced by the median of their neighbours, and only there is the error counted. Noise that is alike in neighbours
would give itself away, so where the measured noise is correlated along an axis, the pixels along it are hidden, too.

References
----------
Krull et al., "Noise2Void", CVPR 2019; Broaddus et al., "Removing structured noise", ISBI 2020; Höck et al., "N2V2",
2022, for the median.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from care_live.training import volumes
from care_live.training.data_recipe import ExposuresData, NoisyData, PairsData
from care_live.training.examples import Data, Example, PairedVolume, RepeatedVolume, Tell, find_foreground
from care_live.training.image_parts import plane_in, rows_in, thin
from care_live.training.measured_noise import (
    are_equally_bright,
    camera_of_images,
    correlation_of,
    correlation_of_repeats,
    pattern_sd_of,
)
from care_live.training.noisy_volumes import SHARE_OF_SECOND, NoisyVolume, RecorruptedVolume
from care_live.training.pairs import gather_pairs, split, split_point
from care_live.training.percentile_jitter import SpanTable
from care_live.training.recipe import Recipe

_SMOOTH_PX = 2.0
"""Foreground of a noisy image is looked for in a smooth one."""
_N_PLANES, _N_FILES = 16, 8
"""Of a file: enough to measure the pattern of its camera."""


def gather_noisy(data: NoisyData, recipe: Recipe, tell: Tell) -> Data:
    """Read noisy images, measure their noise, and split them.

    Raises
    ------
    TrainingError
        A file is missing, broken, constant or not finite; names it.
    """
    examples: list[NoisyVolume] = []
    for name, stored in volumes.find_in(data.images, data.pattern, data.axes).items():
        tell(name)
        image = volumes.read(stored, n_channels=recipe.network.n_channels_in)
        examples += _parts(_example(name, stored.file, image), planes=recipe.network.axes == "YX")
    images = [one.image for one in examples]
    noise = correlation_of(images)
    camera = camera_of_images(images) if noise.is_white else None
    examples = [replace(one, structure_px=noise.reach_px, is_fixed=noise.is_fixed) for one in examples]
    training, validation = _split(examples, data.validation)
    judged = [] if camera is None else [RecorruptedVolume(one, camera) for one in validation]
    gathered = Data(
        training, validation, second_noise=SHARE_OF_SECOND, target_unit="counts", judged=judged, noise=noise
    )
    is_flat = recipe.network.axes == "YX"
    if camera is None or (is_flat if data.hide_pixels is None else data.hide_pixels):
        return gathered
    learnt = [RecorruptedVolume(one, camera) for one in training]
    return replace(gathered, training=learnt, validation=judged, judged=None)


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
    every = [one for part in parts for one in part]
    repeats = [one.images for one in every]
    noise, pattern_sd = correlation_of_repeats(repeats), pattern_sd_of(_stacks(every))
    is_exchanged = noise.is_white and are_equally_bright(repeats)
    training, validation = (
        [replace(one, pattern_sd=pattern_sd, is_exchanged=is_exchanged) for one in part] for part in parts
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


def _stacks(volumes: Sequence[RepeatedVolume]) -> list[Any]:
    """Return an exposure of each volume (c, z, y, x); some planes of one file, which one camera took, are one."""
    stacks = [one.images[0] for one in volumes if len(one.shape_px) > 2]
    planes: dict[tuple[str, tuple[int, ...]], list[Any]] = defaultdict(list)
    for one in volumes:
        if len(one.shape_px) == 2:
            planes[one.file, one.shape_px].append(one.images[0])
    several = [alike for alike in planes.values() if len(alike) > 1]
    chosen = several[:: max(1, -(-len(several) // _N_FILES))]
    some = [alike[:: -(-len(alike) // _N_PLANES)] for alike in chosen]  # each plane of these is read
    return stacks + [np.stack([np.asarray(plane[:]) for plane in alike], axis=1) for alike in some]


def _split(examples: list[NoisyVolume], kept: Sequence[str]) -> tuple[list[NoisyVolume], list[NoisyVolume]]:
    """Return what is learnt from, and what is for validation."""
    if len(examples) == 1 and not kept:
        (whole,) = examples
        first = split_point(whole.shape_px[-2])
        return [_rows(whole, 0, first)], [_rows(whole, first, whole.shape_px[-2])]
    gathered = split(examples, kept)
    training, validation = ([_noisy(one) for one in part] for part in (gathered.training, gathered.validation))
    return training, validation


def _noisy(example: Example) -> NoisyVolume:
    assert isinstance(example, NoisyVolume)
    return example


def _example(name: str, file: str, image: Any) -> NoisyVolume:
    foreground = find_foreground(image, n_axes=image.ndim - 1, smooth_px=_SMOOTH_PX)
    return NoisyVolume(name, file, image, SpanTable.measure(thin(image)[0]), foreground)


def _parts(volume: NoisyVolume, *, planes: bool) -> list[NoisyVolume]:
    """Return a volume, or its planes for a 2D network."""
    if not planes or len(volume.shape_px) == 2:
        return [volume]
    return [_plane(volume, z) for z in range(volume.shape_px[0])]


def _plane(volume: NoisyVolume, z: int) -> NoisyVolume:
    here = volume.foreground[volume.foreground[:, 0] == z, 1:]
    return replace(volume, name=f"{volume.name} z={z}", image=plane_in(volume.image, z), foreground=here)


def _rows(volume: NoisyVolume, first: int, last: int) -> NoisyVolume:
    y = volume.foreground[:, -2]
    here = volume.foreground[(y >= first) & (y < last)].copy()
    here[:, -2] -= first
    image = rows_in(volume.image, slice(first, last))
    return replace(volume, name=f"{volume.name} y={first}-{last}", image=image, foreground=here)
