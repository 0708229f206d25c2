"""Ours in the training bench: the product's own updates on the given patches, up to a number of updates or CPU seconds.

As for the peers, only training is counted: building and the first update, in which every library prepares its
kernels, come before the clock starts, and there is no validation. Patches come in shuffled epochs, unaugmented.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import functional_call

from care_live.training.fit import Batch, Fitter
from care_live.training.network_recipe import NetworkRecipe
from care_live.training.recipe import Recipe

Image = NDArray[Any]
PATCH_PX = (16, 64, 64)
FILTERS, BATCH, THREADS = 16, 4, 1
PLAN_EVERY = 5
"""Updates between two looks at the clock."""
OURS = {"standardise": True, "residual": False, "loss": "mae", "probabilistic": False}
OURS |= {"batch_norm": True, "initialise": "uniform", "optimiser": "muon"}
OURS |= {"learning_rate": 5e-3, "schedule": "cosine", "warmup_updates": 5, "average": 0.0, "clip_norm": 0.0}
"""Chosen by what was restored of another worm than the one that all are judged by."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training came to."""

    restored: Image
    """(z, y, x), the unseen volume."""
    n_updates: int
    cpu_seconds: float
    """From the end of the first update on."""


def train(
    patches: Batch,
    raw: Image,
    *,
    seed: int,
    n_updates: int | None = None,
    cpu_seconds: float = 0.0,
    clock: Callable[[], float] = time.process_time,
    **changes: Any,
) -> Trained:
    """Train ours and restore a volume.

    Parameters
    ----------
    patches : inputs and targets, (n, 1, z, y, x), normalised
    raw : (z, y, x), normalised like the inputs
    n_updates : how many; none: as many as fit into `cpu_seconds`
    changes : of the recipe's network and fit
    """
    settings = OURS | changes
    first = recipe(n_updates or 4 * PLAN_EVERY, seed=seed, **settings)
    fitter = Fitter(first, member=0, folder=Path("unused"), seen=patches)
    draw = batches(patches, seed)
    fitter.step(next(draw), 1)
    begun = clock()
    while fitter.state.update < fitter.recipe.fit.n_updates:
        fitter.step(next(draw), fitter.state.update + 1)
        done = fitter.state.update
        if n_updates is None and done % PLAN_EVERY == 0:
            planned = affordable(done, spent_s=clock() - begun, cpu_seconds=cpu_seconds)
            fitter.recipe = recipe(planned, seed=seed, **settings)  # the learning rate falls over what there is
    spent_s = clock() - begun
    return Trained(restore(fitter, raw), fitter.state.update, spent_s)


def affordable(n_done: int, *, spent_s: float, cpu_seconds: float) -> int:
    """Return how many updates fit into the CPU seconds in all, at the pace of those done after the first."""
    return max(n_done, 1 + int(cpu_seconds * (n_done - 1) / spent_s))


def batches(patches: Batch, seed: int) -> Iterator[Batch]:
    """Yield batches without end, every patch once an epoch."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(patches[0]))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            yield patches[0][chosen], patches[1][chosen]


def restore(fitter: Fitter, raw: Image) -> Image:
    """Restore a volume with the averaged weights, untiled."""
    fitter.network.eval()
    with torch.no_grad():
        mean, _ = functional_call(fitter.network, fitter.state.averaged, torch.from_numpy(raw[None, None]))
    restored: Image = mean[0, 0].numpy()
    return restored


def recipe(n_updates: int, *, seed: int, **settings: Any) -> Recipe:
    """Return the recipe of a contestant of ours; settings go to its network or its fit."""
    network = {"filters": FILTERS, "pool_px": [2, 2, 2]}
    network |= {key: settings.pop(key) for key in NetworkRecipe.model_fields.keys() & settings.keys()}
    fitted = {"n_updates": n_updates, "batch": BATCH, "patch_px": PATCH_PX, "device": "cpu", "threads": THREADS}
    tree = {"name": "ours", "seed": seed, "network": network, "data": {"kind": "simulated"}, "fit": fitted | settings}
    return Recipe.model_validate(tree)
