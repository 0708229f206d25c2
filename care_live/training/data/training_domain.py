"""What a network's inputs are like: figures and samples, kept beside the checkpoints of a run for the model card.

Later images of that kind, from files or made anew by the recipe, complete what a card says of them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.config import Section
from care_live.errors import CareLiveError
from care_live.model.card import TrainingDomain
from care_live.recorded import open_recording
from care_live.training.data import intensity, volumes
from care_live.training.data.data_recipe import DataRecipe, ExposuresData, NoisyData, PairsData
from care_live.training.data.examples import Data, Example
from care_live.training.data.past_frames import joined, with_past
from care_live.training.recipe import Recipe
from care_live.trust.photon_transfer import camera_of, transfer_points

logger = logging.getLogger(__name__)

FILE, SAMPLES = "domain.json", "domain.npz"
_N_SAMPLES = 32
_MOST_PX = (16, 192, 192)
_LEAST_PX, _LEAST_SMALL_PX = 64, 32
"""Along y and x; a smaller image is taken whole."""
_EVERY_SMALL = 2
"""Part that is taken once more, half as large: these show how features scatter where a field is small."""
_GOLDEN = (0.6180339887, 0.7548776662, 0.5698402910)
"""Steps by these cover a volume evenly, however many samples there will be."""
_N_PARTS = 240
"""Of images: mean and covariance of a dozen features need several times as many."""
_RUN_PX = (32, 256, 256)
"""(z, y, x): a part is about what a run has as a volume."""


class KnownInputs(Section):
    """What is known of the inputs of a training run."""

    voxel_size_um: tuple[float, float, float] | None = None
    domain: TrainingDomain = TrainingDomain()


def keep(run: Path, recipe: Recipe, data: Data) -> None:
    """Write what the inputs are like to the folder of a run, with samples of them, camera counts."""
    samples = [one for one in samples_of([*data.training, *data.validation]) if one.dtype in (np.uint8, np.uint16)]
    known = _recorded(recipe.data)
    if samples:
        of_pixels: dict[str, Any] = {
            "intensity_counts": _intensities(samples),
            "signal_electrons": _electrons(samples),
            "pixel_bits": 8 * max(sample.dtype.itemsize for sample in samples),
        }
        known = known.model_copy(update={"domain": known.domain.model_copy(update=of_pixels)})
    if data.target_unit != "percentiles":
        unit = {"target_unit": data.target_unit}
        known = known.model_copy(update={"domain": known.domain.model_copy(update=unit)})
    (run / FILE).write_text(known.model_dump_json(indent=2, exclude_defaults=True), encoding="utf-8")
    np.savez_compressed(run / SAMPLES, *samples)


def load(run: Path) -> tuple[KnownInputs, list[NDArray[Any]]]:
    """Return what `keep` wrote; nothing is known of older runs."""
    if not (run / FILE).exists() or not (run / SAMPLES).exists():
        return KnownInputs(), []
    with np.load(run / SAMPLES, allow_pickle=False) as stored:
        samples = [stored[f"arr_{number}"] for number in range(len(stored.files))]
    return KnownInputs.model_validate_json((run / FILE).read_text(encoding="utf-8")), samples


def described(
    recipe: Recipe, measured: TrainingDomain, *, n_updates: int, commit: str, fingerprints: tuple[str, ...]
) -> TrainingDomain:
    """Return the domain of a card: what was measured on the inputs, and where the network comes from."""
    powers = getattr(recipe.data, "laser_power", None)
    return measured.model_copy(
        update={
            "specimen": recipe.card.specimen,
            "signal_electrons": (20 * min(powers), 20 * max(powers)) if powers else measured.signal_electrons,
            "data_sha256": fingerprints,
            "n_updates": n_updates,
            "commit": commit,
            "recipe": recipe.name,
        }
    )


def samples_of(examples: Sequence[Example], n: int = _N_SAMPLES) -> Iterator[NDArray[Any]]:
    """Yield parts of the inputs, (c, [z,] y, x), evenly taken over volumes, conditions and places.

    Inputs that are made only when a patch is cut, by a degradation, have none.
    """
    return parts_of([image for example in examples for image in _read(example)], n)


def _read(example: Example) -> list[Any]:
    """Return what a network reads of an example: its images, with earlier frames where it reads these."""
    earlier = getattr(example, "earlier", ())
    return [
        joined(image, [None if one is None else one.images[n] for one in earlier])
        for n, image in enumerate(example.images)
    ]


def parts_of(images: Sequence[Any], n: int = _N_SAMPLES, most_px: Sequence[int] = _MOST_PX) -> Iterator[NDArray[Any]]:
    """Yield about n parts of images (c, [z,] y, x), at most that large, evenly taken over images and places.

    Behind every second one follows its middle, half as large along y and x.
    """
    chosen = images[:: max(1, -(-len(images) // n))]
    each = max(1, n // max(len(chosen), 1))
    windows = ((image, _window(image.shape, number, each, most_px)) for image in chosen for number in range(each))
    for count, (image, window) in enumerate(windows):
        part = np.array(image[window])
        yield part
        if count % _EVERY_SMALL == 0 and min(part.shape[-2:]) > _LEAST_SMALL_PX:
            yield _middle_of(part)


def _middle_of(part: NDArray[Any]) -> NDArray[Any]:
    """Return the middle of a part, half as large along y and x."""
    sizes = [max(side // 2, min(side, _LEAST_SMALL_PX)) for side in part.shape[-2:]]
    rows, columns = (
        slice((side - size) // 2, (side - size) // 2 + size) for side, size in zip(part.shape[-2:], sizes, strict=True)
    )
    return np.array(part[..., rows, columns])


def _window(shape: Sequence[int], number: int, n: int, most_px: Sequence[int]) -> tuple[slice, ...]:
    """Return the place of one of n parts of an image (c, [z,] y, x); several are smaller, so that they differ."""
    most = most_px[-(len(shape) - 1) :]
    window = [slice(None)]
    for axis, (side, limit) in enumerate(zip(shape[1:], most, strict=True)):
        is_lateral = axis >= len(shape) - 3
        part = max(side // 2, min(side, _LEAST_PX)) if n > 1 and is_lateral else side
        size = min(part, limit)
        start = int((0.5 + number * _GOLDEN[axis]) % 1.0 * (side - size + 1))
        window.append(slice(start, start + size))
    return tuple(window)


def _recorded(data: DataRecipe) -> KnownInputs:
    """Ask the first file of each condition for its voxels and exposure; what no file says stays unknown."""
    match data:
        case PairsData():
            folders = data.inputs
        case ExposuresData():
            folders = data.exposures
        case NoisyData():
            folders = data.images
        case _:  # made up, or degraded: the inputs are not what was recorded
            return KnownInputs()
    sizes: list[tuple[float, float, float]] = []
    exposures: list[float] = []
    for folder in folders:
        try:
            file = volumes.first_file(folder, data.pattern)
            with contextlib.closing(open_recording(file, axes=data.axes, any_numbers=True)) as recording:
                contents = recording.contents
                exposures += [seen for index in contents.order[:1] if (seen := recording.stamp(index).exposure_ms)]
        except CareLiveError as error:
            logger.info("voxels and exposure unknown folder=%s reason=%s", folder, error)
            continue
        sizes += [contents.plan.voxel_size_um] * any(size != 1.0 for size in contents.plan.voxel_size_um)
    span = (min(exposures), max(exposures)) if exposures else None
    return KnownInputs(voxel_size_um=sizes[0] if sizes else None, domain=TrainingDomain(exposure_ms=span))


def _intensities(samples: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Return the lowest low and the highest high of the normalisation."""
    lows, highs = zip(*(np.percentile(sample, intensity.USUAL) for sample in samples), strict=True)
    return float(min(lows)), float(max(highs))


def _electrons(samples: Sequence[NDArray[Any]]) -> tuple[float, float] | None:
    """Return the fewest and the most photo-electrons of the brightest voxels, by photon transfer."""
    stacks = [channel if channel.ndim == 3 else channel[None] for sample in samples for channel in sample]
    camera = camera_of(tuple(point for stack in stacks for point in transfer_points(stack)), "training")
    if camera is None:
        return None
    brightest = [camera.electrons(float(np.percentile(stack, intensity.USUAL[1]))) for stack in stacks]
    return round(min(brightest), 2), round(max(brightest), 2)


class DomainImages(NamedTuple):
    """Parts of images, and where they are from."""

    parts: Sequence[NDArray[Any]]
    """(c, [z,] y, x) camera counts."""
    origin: str
    """In words."""


def of_inputs(data: Data, origin: str) -> DomainImages:
    """Return parts of the inputs that a network was trained on, made or read anew.

    Parameters
    ----------
    origin : of the data: its recipe's name
    """
    parts = list(samples_of([*data.training, *data.validation], n=_N_PARTS))
    return DomainImages(parts, f"{len(parts)} parts of the training's inputs, made anew by {origin}")


def of_folders(folders: Sequence[Path], pattern: str, *, axes: str, n_channels: int, n_past: int = 0) -> DomainImages:
    """Return parts of recorded images.

    Parameters
    ----------
    n_past : earlier time points that the network reads with each image

    Raises
    ------
    TrainingError
        A folder does not exist, nothing in it matches, or a file is no image of these axes.
    """
    stored = [one for folder in folders for one in with_past(volumes.find(folder, pattern, axes), n_past).values()]
    images = [volumes.read(one, n_channels=n_channels * (1 + n_past)) for one in stored]
    parts = list(parts_of(images, _N_PARTS, _RUN_PX))
    where = ", ".join(dict.fromkeys(folder.name for folder in folders))
    return DomainImages(parts, f"{len(parts)} parts of {len(images)} images in {where}")
