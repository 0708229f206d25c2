"""Matched pairs: dim and bright recordings of one fixed sample, checked before anything is learnt from them.

Several conditions share one target. A pair whose images are shifted against each other teaches a network to
blur, so the shift of every pair is measured and a mismatched one is refused.

A network that sees few voxels over and over learns the noise of their one exposure by heart. So where recordings are
small, the bright image of a pair is dimmed and exposed again as its dim one was. The camera is measured on the dim
images, the bright one is brought to their level, and both must agree, or nothing is added.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import TrainingError
from care_live.training.data import volumes
from care_live.training.data.data_recipe import PairsData
from care_live.training.data.examples import Data, Example, Filed, PairedVolume, Tell, paired, planes_of, rows_of
from care_live.training.data.intensity import BrightnessLine, line_of
from care_live.training.data.volumes import StoredImage
from care_live.training.recipe import Recipe
from care_live.trust import registration
from care_live.trust.camera import CameraModel
from care_live.trust.photon_transfer import TransferPoint, camera_of, transfer_points

logger = logging.getLogger(__name__)

FEWEST_ROWS = 32
"""For validation, of a volume that is alone."""

MOST_EXPOSURES = 7
"""Further ones of each volume."""
MOST_VOXELS = 16_000_000
"""Of all further exposures together; larger recordings have noise enough."""
_AGREEMENT = (0.7, 1.4)
"""Mean squared difference of a dim image from the dimmed bright one, over the noise that the camera says."""
_MOST_SHARED = 0.15
"""Of the noise of a further exposure, what it shares with its target, 0.02 to 0.08 of one 60 times brighter: a network
would learn to keep that."""
_VOLUMES_FOR_CAMERA = 8


def gather_pairs(data: PairsData, recipe: Recipe, tell: Tell) -> Data:
    """Match the files of every condition with those of the target, by name.

    Raises
    ------
    TrainingError
        A file has no partner, another shape, too many channels, NaN, one value only, or is shifted; names it.
    """
    target_axes = data.axes.replace("Z", "") if recipe.network.projection else data.axes
    examples: list[PairedVolume] = []
    for name, inputs, target in _found(data, target_axes):
        tell(name)
        volume = _match(name, inputs, target, data=data, recipe=recipe)
        flat = recipe.network.axes == "YX" and not recipe.network.projection
        examples += planes_of(volume) if flat and len(volume.shape_px) == 3 else [volume]
    if len(examples) == 1 and not data.validation:
        return split_rows(examples[0])
    return split(examples, data.validation)


def _found(data: PairsData, target_axes: str) -> Iterator[tuple[str, list[StoredImage], StoredImage]]:
    """Yield the name, the inputs and the target of every volume; of several targets, each has an input of its own."""
    one = len(data.target) == 1
    for number, folder in enumerate(data.target):
        folders = data.inputs if one else data.inputs[number : number + 1]
        targets = volumes.find(folder, data.pattern, target_axes)
        inputs = [volumes.find(path, data.pattern, data.axes) for path in folders]
        for path, found in zip(folders, inputs, strict=True):
            _check_partners(set(found), set(targets), str(path), str(folder))
        for name, target in targets.items():
            start = "" if one else f"{folder}/"
            yield start + name, [found[name] for found in inputs], volumes.within(target, start)


def split_rows(volume: PairedVolume) -> Data:
    """Split a volume that is alone: the last rows of y, a quarter of them or more, are for validation."""
    n_rows = volume.shape_px[-2]
    first = split_point(n_rows)
    training = rows_of(volume, slice(0, first), f"{volume.name} y<{first}")
    return Data([training], [rows_of(volume, slice(first, n_rows), f"{volume.name} y>={first}")])


def split_point(n_rows: int) -> int:
    """Return how many rows of a volume that is alone are for training."""
    return n_rows - max(n_rows // 4, min(FEWEST_ROWS, n_rows // 2))


def split(examples: Sequence[Filed], validation: Sequence[str], *, turns: bool = True) -> Data:
    """Split by volume, and by file where there are several.

    Parameters
    ----------
    validation : names of files (or volumes) that are kept; none: the last tenth, and at least one

    Raises
    ------
    TrainingError
        There is nothing to split, or a name for validation does not exist.
    """
    files = list(dict.fromkeys(example.file for example in examples))
    groups = {id(example): example.file if len(files) > 1 else example.name for example in examples}
    names = list(dict.fromkeys(groups.values()))
    if len(names) < 2:
        raise TrainingError(f"only {', '.join(names)} came; training needs one volume and validation another: add some")
    for name in validation:
        if name not in names:
            raise TrainingError(
                f"validation volume {name} is not among {', '.join(names[:9])}: correct [data] validation"
            )
    kept = set(validation) or set(names[-max(1, len(names) // 10) :])
    if kept >= set(names):
        raise TrainingError("every volume is kept for validation: leave some to train on")
    training = [example for example in examples if groups[id(example)] not in kept]
    return Data(training, [example for example in examples if groups[id(example)] in kept], turns=turns)


def _check_partners(found: set[str], wanted: set[str], folder: str, target: str) -> None:
    if missing := sorted(wanted - found):
        raise TrainingError(f"{folder} has no partner for {', '.join(missing[:3])} of {target}: pairs are named alike")
    if extra := sorted(found - wanted):
        raise TrainingError(f"{target} has no partner for {', '.join(extra[:3])} of {folder}: pairs are named alike")


def _match(
    name: str, inputs: Sequence[StoredImage], target: StoredImage, *, data: PairsData, recipe: Recipe
) -> PairedVolume:
    network = recipe.network
    wanted = volumes.read(target, n_channels=network.n_channels_out)
    shown = [volumes.read(stored, n_channels=network.n_channels_in) for stored in inputs]
    for stored, image in zip(inputs, shown, strict=True):
        _check_shape(stored, image, target, wanted)
        _check_shift(stored, image, target, wanted, allowed_px=data.max_shift_px)
    lines = [line_of(wanted, image) for image in shown]
    return paired(name, shown, wanted, file=target.file, lines=lines, moment=target.moment)


def _check_shape(stored: StoredImage, image: Any, target: StoredImage, wanted: Any) -> None:
    if image.shape[1:][-(wanted.ndim - 1) :] != wanted.shape[1:]:
        raise TrainingError(
            f"{stored.label} is {image.shape[1:]} px and {target.label} is {wanted.shape[1:]}: a pair has one shape"
        )


def _check_shift(stored: StoredImage, image: Any, target: StoredImage, wanted: Any, *, allowed_px: float) -> None:
    shown, bright = (registration.middle(whole) for whole in (image, wanted))
    shift = registration.measure(shown.max(axis=0) if shown.ndim > bright.ndim else shown, bright)
    logger.debug("registered pair=%s shift_px=%s peak=%.3f", stored.label, shift.shift_px, shift.peak)
    if not shift.is_certain:
        raise TrainingError(
            f"{stored.label} and {target.label} do not look like the same place: is this a pair? "
            f"(correlation peak {shift.peak:.2f} of its surroundings' {shift.background:.2f})"
        )
    if shift.length_px > allowed_px:
        raise TrainingError(
            f"{stored.label} is shifted by {shift.shift_px} px against {target.label}, more than "
            f"data.max_shift_px = {allowed_px}: register the pair, or leave it out"
        )


def in_counts(data: Data, *, seed: int) -> Data:
    """Return pairs whose targets are in the counts of their inputs, small ones with further exposures.

    Where one pair has no line, every image keeps a range of its own.
    """
    training, validation = ([_paired(one) for one in part] for part in (data.training, data.validation))
    if not all(line for volume in (*training, *validation) for line in volume.lines):
        training, validation = ([replace(one, lines=()) for one in part] for part in (training, validation))
        return replace(data, training=training, validation=validation)
    return replace(data, training=with_fresh_noise(training, seed=seed), target_unit="counts")


def _paired(example: Example) -> PairedVolume:
    assert isinstance(example, PairedVolume)
    return example


def with_fresh_noise(volumes: Sequence[PairedVolume], *, seed: int) -> list[PairedVolume]:
    """Return volumes with further exposures, as many for all; without any where they would not fit.

    Parameters
    ----------
    volumes : to learn from, of one recipe
    """
    n_voxels = sum(math.prod(image.shape) for volume in volumes for image in volume.inputs)
    n = min(MOST_EXPOSURES, MOST_VOXELS // max(n_voxels, 1))
    if n == 0:
        return list(volumes)
    cameras = [_camera(volumes, condition) for condition in range(len(volumes[0].inputs))]
    rng = np.random.default_rng([seed, len(volumes)])
    return [_exposed_again(volume, cameras, n, rng) for volume in volumes]


def _camera(volumes: Sequence[PairedVolume], condition: int) -> CameraModel | None:
    """Measure the camera on the dim images of a condition, all channels alike."""
    chosen = volumes[:: max(1, len(volumes) // _VOLUMES_FOR_CAMERA)]
    points: list[TransferPoint] = []
    for volume in chosen:
        image = np.asarray(volume.inputs[condition][:])
        points += transfer_points(image.reshape(-1, *image.shape[-2:]))
    return camera_of(tuple(points), "the dim images")


def _exposed_again(
    volume: PairedVolume, cameras: Sequence[CameraModel | None], n: int, rng: np.random.Generator
) -> PairedVolume:
    return replace(
        volume, fresh=[_fresh(volume, condition, camera, n=n, rng=rng) for condition, camera in enumerate(cameras)]
    )


def _fresh(
    volume: PairedVolume, condition: int, camera: CameraModel | None, *, n: int, rng: np.random.Generator
) -> list[NDArray[Any]]:
    """Return further exposures of one condition; none where they would not fit."""
    dim, bright = (np.asarray(image[:]) for image in (volume.inputs[condition], volume.target))
    line = volume.lines[condition]
    if camera is None or line is None or not may_be_exposed_again(bright, dim, line, camera):
        logger.debug("no fresh noise volume=%s condition=%d", volume.name, condition)
        return []
    expected = line.dimmed(bright)
    return [as_stored(expose(expected, camera, rng), dim.dtype) for _ in range(n)]


def may_be_exposed_again(bright: NDArray[Any], dim: NDArray[Any], line: BrightnessLine, camera: CameraModel) -> bool:
    """Tell whether a bright image, dimmed, differs from the dim one by the camera's noise, and has little of its own.

    Parameters
    ----------
    bright, dim : (c, [z,] y, x) counts
    camera : of the dim image
    """
    for wanted, shown, target, gain in zip(line.dimmed(bright), dim, bright, line.gain, strict=True):
        noise = float(camera.variance(wanted).mean())
        error = float(np.mean(np.square(shown.astype(np.float64) - wanted)))
        own = float(gain) ** 2 * _white_variance(target.astype(np.float64))
        if not (_AGREEMENT[0] < error / noise < _AGREEMENT[1] and own < _MOST_SHARED * noise):
            return False
    return True


def expose(expected: NDArray[np.float32], camera: CameraModel, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return expected counts with photon and camera noise."""
    light = np.maximum(expected - np.float32(camera.offset), 0) / np.float32(camera.gain)
    electronic = math.hypot(camera.gain * camera.read_noise, camera.pattern_sd)
    counts = camera.offset + camera.gain * rng.poisson(light).astype(np.float32)
    counts += np.float32(electronic) * rng.standard_normal(expected.shape, np.float32)
    return np.asarray(counts, np.float32)


def as_stored(counts: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return counts as a file of that type holds them."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        counts = np.clip(np.rint(counts), limits.min, limits.max)
    return counts.astype(dtype)


def _white_variance(image: NDArray[np.float64]) -> float:
    """Return the variance of white noise, counts², by second differences along y and x; structure adds little."""
    return float(np.mean(np.square(np.diff(np.diff(image, n=2, axis=-1), n=2, axis=-2)))) / 36
