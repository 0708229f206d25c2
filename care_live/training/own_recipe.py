"""The recipe for one's own specimen: from folders of images and minutes, everything else by what measures best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from care_live.training import volumes
from care_live.training.recipe import Recipe

NAME = "own"


def own_recipe(
    inputs: Sequence[Path],
    target: Path,
    *,
    minutes: float,
    axes: str | None = None,
    pattern: str = "*.tif*",
    name: str = NAME,
) -> Recipe:
    """Return a recipe for pairs of dim and bright images.

    Parameters
    ----------
    inputs, target : folders with one file a volume, named alike; or OME-Zarr
    minutes : budget of the training on this machine
    axes : of every file, a subset of TCZYX in that order; None: as in the first file of the target

    Raises
    ------
    TrainingError
        There is no image, or its axes are unknown.
    """
    axes, shape = volumes.look(target, pattern, axes)
    _, shown = volumes.look(inputs[0], pattern, axes)
    data: dict[str, Any] = {"kind": "pairs", "inputs": list(inputs), "target": target, "axes": axes, "pattern": pattern}
    return Recipe.model_validate(
        {
            "name": name,
            "network": {
                "axes": "ZYX" if shape.get("Z", 1) > 1 else "YX",
                "n_channels_in": shown.get("C", 1),
                "n_channels_out": shape.get("C", 1),
            },
            "data": data,
            "fit": {"minutes": minutes},
        }
    )
