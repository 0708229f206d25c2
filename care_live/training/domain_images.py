"""Images of the kind that a network is made for, from files or from its recipe, for what its card says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from care_live.training import recipe as recipes
from care_live.training import training_domain, volumes
from care_live.training.loading import gather

_N_PARTS = 240
"""Of images: mean and covariance of a dozen features need several times as many."""


_MOST_PX = (32, 256, 256)
"""(z, y, x): a part is about what a run has as a volume."""


class DomainImages(NamedTuple):
    """Parts of images, and where they are from."""

    parts: Sequence[NDArray[Any]]
    """(c, [z,] y, x) camera counts."""
    origin: str
    """In words."""


def of_recipe(path: Path) -> DomainImages:
    """Return parts of the inputs that a network was trained on; simulated ones are made anew.

    Raises
    ------
    ConfigError
        The recipe cannot be read.
    TrainingError
        A file of its data is missing or broken.
    """
    recipe = recipes.load(path)
    data = gather(recipe)
    parts = list(training_domain.samples_of([*data.training, *data.validation], n=_N_PARTS))
    return DomainImages(parts, f"{len(parts)} parts of the training's inputs, made anew by {path.name}")


def of_folders(folders: Sequence[Path], pattern: str, *, axes: str, n_channels: int) -> DomainImages:
    """Return parts of recorded images.

    Raises
    ------
    TrainingError
        A folder does not exist, nothing in it matches, or a file is no image of these axes.
    """
    stored = [one for folder in folders for one in volumes.find(folder, pattern, axes).values()]
    images = [volumes.read(one, n_channels=n_channels) for one in stored]
    parts = list(training_domain.parts_of(images, _N_PARTS, _MOST_PX))
    where = ", ".join(dict.fromkeys(folder.name for folder in folders))
    return DomainImages(parts, f"{len(parts)} parts of {len(images)} images in {where}")
