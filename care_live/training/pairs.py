"""Matched pairs: dim and bright recordings of one fixed sample, checked before anything is learnt from them.

Several conditions share one target. A pair whose images are shifted against each other teaches a network to
blur, so the shift of every pair is measured and a mismatched one is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from care_live.errors import TrainingError
from care_live.training import volumes
from care_live.training.brightness import line_of
from care_live.training.data_recipe import PairsData
from care_live.training.examples import Data, Filed, PairedVolume, Tell, paired, planes_of, rows_of
from care_live.training.recipe import Recipe
from care_live.training.volumes import StoredImage
from care_live.trust import registration

logger = logging.getLogger(__name__)

FEWEST_ROWS = 32
"""For validation, of a volume that is alone."""


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
            within = "" if one else f"{folder}/"
            yield within + name, [found[name] for found in inputs], replace(target, file=within + target.file)


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
    return paired(name, shown, wanted, file=target.file, lines=lines)


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
