"""What a training run leaves on disk: weights, running average, optimiser, history; written whole or not."""

from __future__ import annotations

import math
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor, nn

from care_live.errors import TrainingError
from care_live.training.recipe import Recipe

StateDict: TypeAlias = dict[str, Tensor]
"""Weights by the names that torch gives them."""


@dataclass(slots=True)
class TrainingHistory:
    """One entry a validation."""

    update: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    """Mean training loss since the validation before."""
    validation: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    """Of the validation images, see `loss.choose_error`; shorter where a run of an older version goes on."""

    @property
    def judged(self) -> list[float]:
        """Return what the best weights are chosen by: the least of these."""
        return self.error or self.validation


@dataclass(slots=True)
class TrainingState:
    """Where a training run stands."""

    update: int
    weights: StateDict
    averaged: StateDict
    """Running average of the weights; the weights themselves where none is wanted."""
    history: TrainingHistory
    least_error: float = math.inf
    """Of the weights in ``best.pt``; infinite as long as there are none, or theirs is unknown."""

    @classmethod
    def fresh(cls, network: nn.Module) -> Self:
        weights = _copy(network)
        return cls(0, weights, weights, TrainingHistory())

    def follow(self, network: nn.Module, update: int, *, decay: float) -> None:
        """Take over the weights after an update, and move the running average towards them."""
        self.update, self.weights = update, network.state_dict()
        if not decay:
            self.averaged = self.weights
            return
        share = 1 - min(decay, (1 + update) / (10 + update))  # the first updates count little
        names = [name for name, now in self.weights.items() if now.is_floating_point()]
        torch._foreach_lerp_([self.averaged[name] for name in names], [self.weights[name] for name in names], share)
        self.averaged |= {name: now for name, now in self.weights.items() if name not in names}

    def note(self, *, loss: float, validation: float, error: float, rate: float) -> bool:
        """Append to the history; returns whether this validation has the least error so far."""
        is_best = error < self.least_error
        if is_best:  # never an error that is no number
            self.least_error = error
        self.history.error.append(error)
        self.history.update.append(self.update)
        self.history.loss.append(loss)
        self.history.validation.append(validation)
        self.history.learning_rate.append(rate)
        return is_best


def _copy(network: nn.Module) -> StateDict:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def save_state(path: Path, state: TrainingState, moments: dict[str, Any], recipe: Recipe) -> None:
    """Write a checkpoint beside the old one and put it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tree = {
        "update": state.update,
        "weights": state.weights,
        "averaged": state.averaged,
        "history": asdict(state.history),
        "least_error": state.least_error,
        "moments": moments,
        "recipe": recipe.model_dump_json(),
    }
    fresh = path.with_suffix(".new")
    torch.save(tree, fresh)
    fresh.replace(path)


def load_state(path: Path, recipe: Recipe | None, device: torch.device) -> tuple[TrainingState, dict[str, Any]]:
    """Read a checkpoint: the state, and the optimiser's moments.

    Raises
    ------
    TrainingError
        The file is broken, or was written by another recipe (the number of updates may differ).
    """
    tree = _read(path, device)
    if recipe is not None and _lasting(Recipe.model_validate_json(tree["recipe"])) != _lasting(recipe):
        raise TrainingError(f"{path} was written by another recipe: use that one, or a new run folder")
    history = TrainingHistory(**tree["history"])
    least_error = tree.get("least_error", math.nan)
    if math.isnan(least_error):  # an older run has none, or took a NaN for it
        least_error = min((error for error in history.error if not math.isnan(error)), default=math.inf)
    return TrainingState(tree["update"], tree["weights"], tree["averaged"], history, least_error), tree["moments"]


def _lasting(recipe: Recipe) -> Recipe:
    """Return what must not change between a run and its continuation."""
    free = {"start": None, "minutes": 0.0, "n_updates": 1, "threads": 0, "device": "auto", "stop_after": 0}
    return recipe.model_copy(update={"fit": recipe.fit.model_copy(update=free), "members": 1})


def read_recipe(path: Path) -> Recipe:
    """Return the recipe that wrote a checkpoint."""
    return Recipe.model_validate_json(_read(path, torch.device("cpu"))["recipe"])


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(f"there is no checkpoint {path}: train first") from error
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is no checkpoint of a training run: {error}") from error
    return tree
