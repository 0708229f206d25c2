"""A training run as a TOML file: which data, which network, how it is fitted, what its card will contain."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from care_live.config import Section, describe, read_toml
from care_live.errors import ConfigError
from care_live.model.card import Task
from care_live.training.data.data_recipe import DataRecipe
from care_live.training.network_recipe import PRESETS, NetworkRecipe

LossName = Literal["mae", "mse", "gaussian", "laplace", "gaussian_laplace", "hidden_mse"]
"""*gaussian_laplace*: the mean by the squared error, the Laplace scale around it. *hidden_mse* is for noisy images
alone: the error where pixels were hidden."""
OptimiserName = Literal["adam", "muon"]


PATCH_PX = {2: (96, 96), 3: (16, 64, 64)}
"""By number of axes."""


N_VALIDATIONS, FEWEST_BETWEEN = 20, 25
"""Validations of a run without a number of its own, and updates between two of them. They take 5 % of its time, a tenth
at most."""


class FitRecipe(Section):
    """How the weights are found; the defaults are what restores best after minutes of training, over many stacks."""

    minutes: float = Field(default=0.0, ge=0)
    """Budget of each network on this machine. The time of an update is measured before training begins, and gives
    `n_updates` and, where the recipe names no number, `network.filters`. 0: `n_updates` holds."""
    n_updates: int = Field(default=5_000, ge=1)
    batch: int = Field(default=2, ge=1)
    patch_px: tuple[int, ...] | None = None
    """None: 16 x 64 x 64 or 96 x 96, and less along an axis where a volume is smaller."""
    optimiser: OptimiserName = "muon"
    """*muon* learns more from each update than *adam*, and takes the same rates; see `optim`."""
    learning_rate: float = Field(default=3e-3, gt=0)
    schedule: Literal["plateau", "cosine", "constant"] = "cosine"
    """*plateau* halves the rate when validation stands still; *cosine* falls to a hundredth at the end."""
    warmup_updates: int = Field(default=20, ge=0)
    loss: LossName = "laplace"
    beta: float = Field(default=1.0, ge=0, le=1)
    """Weight exponent of the Laplace loss; see `loss.laplace`."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Longest gradient; 0: no limit."""
    average: float = Field(default=0.99, ge=0, lt=1)
    """Decay of a running average of the weights, which is what is validated and exported; 0: none."""
    validate_every: int = Field(default=0, ge=0)
    """Updates from one validation to the next; 0: a twentieth of all, and 25 at least."""
    n_validation_patches: int = Field(default=16, ge=1)
    patience: int = Field(default=10, ge=1)
    """Validations without progress before *plateau* halves the rate."""
    stop_after: int = Field(default=0, ge=0)
    """Validations without progress before training stops early; 0: never."""
    foreground: float = Field(default=0.8, ge=0, le=1)
    """Share of the patches that must hold foreground of the target."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "mixed"] = "float32"
    """*mixed* computes in bfloat16 on a GPU, and on a CPU where `device` is *cpu*; weights and loss stay float32."""
    threads: int = Field(default=0, ge=0)
    """CPU threads; 0: as many as cores."""
    tensorboard: bool = False
    start: Path | None = None
    """Network to begin with: folder of a run, or an ONNX file of ours. What does not fit begins anew."""
    learn: Literal["all", "gains"] = "all"
    """*gains*: only gains and biases; the kernels stay those of `start`."""

    @property
    def validation_interval(self) -> int:
        """Updates from one validation to the next."""
        return self.validate_every or max(FEWEST_BETWEEN, self.n_updates // N_VALIDATIONS)


class CardRecipe(Section):
    """What only the author of a network knows."""

    channels_in: tuple[str, ...] = ("any",)
    channels_out: tuple[str, ...] = ("any",)
    author: str = ""
    licence: str = ""
    specimen: str = ""


class Recipe(Section):
    """The whole file."""

    name: str = Field(pattern=r"^[0-9A-Za-z_.-]{1,64}$")
    seed: int = Field(default=1, ge=0)
    members: int = Field(default=1, ge=1, le=16)
    """Networks of the ensemble; each has its own seed and ends in the same ONNX file."""
    preset: str | None = None
    """One of CSBDeep's networks by name, instead of `network`."""
    network: NetworkRecipe = NetworkRecipe()
    data: DataRecipe
    fit: FitRecipe = FitRecipe()
    card: CardRecipe = CardRecipe()

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, tree: dict[str, object]) -> dict[str, object]:
        name = tree.get("preset")
        if name is None:
            return tree
        if name not in PRESETS or "network" in tree:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, and without a [network]; got {name!r}")
        return {**tree, "network": PRESETS[str(name)]}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.fit.loss in ("laplace", "gaussian_laplace") and not self.network.probabilistic:
            raise ValueError(f"loss {self.fit.loss} needs network.probabilistic = true")
        if self.data.kind == "exposures" and (self.fit.loss != "mse" or self.network.probabilistic):
            raise ValueError("exposures need fit.loss = mse and network.probabilistic = false: others learn the noise")
        if (self.data.kind == "noisy") != (self.fit.loss == "hidden_mse") or (
            self.data.kind == "noisy" and self.network.probabilistic
        ):
            raise ValueError("noisy images need fit.loss = hidden_mse and network.probabilistic = false, and only they")
        if self.network.past and self.data.kind not in ("pairs", "exposures", "noisy"):
            raise ValueError(f"network.past needs recorded time-lapses; data.kind is {self.data.kind}")
        axes, patch_px = self.axes_seen, self.fit.patch_px
        if patch_px is None:
            return self
        if len(patch_px) != len(axes):
            raise ValueError(f"patch_px needs one number for each of {axes}, got {patch_px}")
        lateral = patch_px[-len(self.network.divisor) :]
        if any(size % step for size, step in zip(lateral, self.network.divisor, strict=True)):
            raise ValueError(f"patch_px {patch_px} must be multiples of {self.network.divisor}")
        return self

    @property
    def axes_seen(self) -> Literal["YX", "ZYX"]:
        """Return the axes of an example: a projection reads volumes."""
        return "ZYX" if self.network.projection else self.network.axes

    @property
    def task(self) -> Task:
        if self.network.projection:
            return "project"
        tasks: dict[str, Task] = {"isotropic": "isotropic", "deconvolve": "deconvolve", "upsample": "upsample"}
        return tasks.get(self.data.kind, "denoise")


def load(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises
    ------
    ConfigError
        The file is missing, not TOML, or has an unknown key or a value out of range; the message names it.
    """
    try:
        return Recipe.model_validate(read_toml(path, "recipe"))
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error


def with_changes(
    recipe: Recipe, *, minutes: float | None = None, n_updates: int | None = None, members: int | None = None
) -> Recipe:
    """Return a recipe with another budget, in minutes or updates, or other members; None leaves it as it is."""
    changes: dict[str, object] = {} if minutes is None else {"minutes": minutes}
    if n_updates is not None:
        changes = {"minutes": 0.0, "n_updates": n_updates}
    fit = recipe.fit.model_copy(update=changes)
    return recipe.model_copy(update={"fit": fit, "members": members or recipe.members})
