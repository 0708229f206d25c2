"""Fresh noise for small recordings: the bright image of a pair, dimmed and exposed again as its dim one was.

A network that sees few voxels over and over learns the noise of their one exposure by heart. The camera is measured on
the dim images, the bright one is brought to their level, and both must agree, or nothing is added.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.training.brightness import BrightnessLine
from care_live.training.examples import Data, Example, PairedVolume
from care_live.trust.camera import CameraModel
from care_live.trust.photon_transfer import TransferPoint, camera_of, transfer_points

logger = logging.getLogger(__name__)

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
