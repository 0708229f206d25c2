"""What a training run will do, before it begins: a recipe from folders and minutes, and its plan in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from care_live.training.data import volumes
from care_live.training.recipe import Recipe
from care_live.training.start import open_start
from care_live.trust.measured_noise import NoiseCorrelation

SHARE_OF_UPDATES = 0.95
"""The rest of the budget goes to validation, to tuning filters for the verdict, and to the report."""
NAME = "own"
_COPIED = ("depth", "filters", "kernel_px", "residual", "standardise", "batch_norm", "blur_pool", "first_skip")
STOP_AFTER = 8
"""Validations without progress, of the twenty of a run without a clean image: what goes on learns the noise."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a run will do, before it begins."""

    recipe: Recipe
    """Its updates and filters are settled."""
    n_training: int
    """Volumes (planes, for a 2D network)."""
    n_validation: int
    patch_px: tuple[int, ...]
    device: str
    """That computes, such as cpu."""
    update_s: float | None
    """Seconds of one update on this machine; None where the recipe gives the number of updates."""
    is_enough: bool = False
    """Whether the budget would allow more updates than the images are good for."""
    noise: NoiseCorrelation | None = None
    """Of the images, where there is no clean one."""

    @property
    def duration_s(self) -> float | None:
        """Seconds that the run takes, about; None: not measured."""
        if self.update_s is None:
            return None
        return self.recipe.members * self.recipe.fit.n_updates * self.update_s / SHARE_OF_UPDATES

    def describe(self) -> str:
        """Return the plan in a sentence or two."""
        recipe, fit = self.recipe, self.recipe.fit
        patch = " x ".join(str(size) for size in self.patch_px)
        image = "volume" if recipe.axes_seen == "ZYX" else "plane"
        where = self.device.upper() + ("" if self.duration_s is None else f", about {_duration(self.duration_s)}")
        several = f"{recipe.members} networks, each a " if recipe.members > 1 else ""
        enough = " (more would be learnt by heart from so few images)" if self.is_enough else ""
        network = f"{several}{recipe.network.describe()}"
        noise = f"\n{self.noise.describe()}." if self.noise else ""
        return (
            f"Learns from {_several(self.n_training, image)}, and is judged on {_several(self.n_validation, 'other')}: "
            f"{fit.n_updates} updates of {fit.batch} patches of {patch} px on the {where}{enough}. {network}.{noise}"
        )


def _several(n: int, what: str) -> str:
    return f"{n} {what}" + ("s" if n != 1 else "")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def own_recipe(
    inputs: Sequence[Path],
    target: Path | Sequence[Path] | None = None,
    *,
    second: Path | None = None,
    minutes: float,
    axes: str | None = None,
    pattern: str = "*.tif*",
    name: str = NAME,
    look_ahead: int | None = None,
) -> Recipe:
    """Return a recipe for pairs of dim and bright images, for two exposures, or for noisy images alone.

    Parameters
    ----------
    inputs, target, second : folders with one file a volume, named alike; or OME-Zarr
    target : bright images, one folder for all inputs or one for each; or
    second : further exposures of what the inputs show
    minutes : budget of the training on this machine
    axes : of every file, a subset of TCZYX in that order; None: as in the first file of the inputs
    look_ahead : planes that the network may read ahead of the restored one; None: no limit

    Raises
    ------
    TrainingError
        There is no image, or its axes are unknown.
    """
    axes, shown = volumes.look(inputs[0], pattern, axes)
    common: dict[str, Any] = {"axes": axes, "pattern": pattern}
    network: dict[str, Any] = {"axes": "ZYX" if shown.get("Z", 1) > 1 else "YX", "n_channels_in": shown.get("C", 1)}
    network |= {} if look_ahead is None else {"look_ahead": look_ahead}
    fit: dict[str, Any] = {"minutes": minutes}
    targets = [target] if isinstance(target, Path) else target
    if targets:
        _, wanted = volumes.look(targets[0], pattern, axes)
        network["n_channels_out"] = wanted.get("C", 1)
        fit |= {"loss": "gaussian_laplace"}  # the mean, not the median: 0.4 dB more on planes of a mouse brain
        data = {"kind": "pairs", "inputs": list(inputs), "target": list(targets), **common}
    elif second is None:
        network |= {"n_channels_out": network["n_channels_in"], "probabilistic": False}
        fit |= {"loss": "hidden_mse", "stop_after": STOP_AFTER}
        data = {"kind": "noisy", "images": list(inputs), **common}
    else:
        exposures = [*inputs, second]
        network |= {"n_channels_out": network["n_channels_in"], "probabilistic": False}
        fit |= {"loss": "mse", "stop_after": STOP_AFTER}
        data = {"kind": "exposures", "exposures": exposures, **common}
    return Recipe.model_validate({"name": name, "network": network, "data": data, "fit": fit})


def reading_past(recipe: Recipe, n_past: int) -> Recipe:
    """Return a recipe for a network that reads earlier time points with each one."""
    return recipe.model_copy(update={"network": recipe.network.model_copy(update={"past": n_past})})


def begun_with(recipe: Recipe, start: Path, *, gains_only: bool = False) -> Recipe:
    """Return a recipe that begins with another network, and has its architecture; channels and heads stay.

    Raises
    ------
    TrainingError
        There is no such network, or it is not one that care_live trained.
    """
    other = open_start(start).network
    network = recipe.network.model_dump() | {name: getattr(other, name) for name in _COPIED}
    if "look_ahead" not in recipe.network.model_fields_set and recipe.network.axes == "ZYX":
        network["look_ahead"] = other.look_ahead
    network["pool_px"] = other.pool_px[-len(recipe.network.axes) :]
    network["residual"] &= network["n_channels_in"] == network["n_channels_out"] and not network["past"]
    fit = recipe.fit.model_dump() | {"start": start, "learn": "gains" if gains_only else "all"}
    return Recipe.model_validate(recipe.model_dump() | {"network": network, "fit": fit})
