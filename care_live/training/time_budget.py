"""What a budget in minutes buys: an update is timed, and gives the number of updates, and of filters.

A larger network restores better once it has had enough updates, and worse before: so the budget decides. Its figures
are a function of the time of an update alone, so they hold for a laptop as for a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from care_live.training import patches
from care_live.training.examples import Data
from care_live.training.fit import Fitter, choose_device, measured_patches
from care_live.training.recipe import Recipe

ENOUGH_UPDATES = {8: 1, 16: 700, 32: 3_000}
"""By filters: fewer updates are better spent on the next smaller network. On nuclei, in 58 s of one core, 377 updates
of 16 filters came to 27.9 dB, 875 of 8 filters to 28.1 dB."""
SHARE_OF_UPDATES = 0.85
"""The rest of the budget goes to validation, to tuning filters for the verdict, and to the report."""
N_TIMED, LONGEST_TRIAL_S = 5, 10.0


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a run will do, before it begins."""

    recipe: Recipe
    """Its updates and filters are settled."""
    n_training: int
    """Volumes (planes, for a 2D network)."""
    n_validation: int
    patch_px: tuple[int, ...]
    update_s: float | None
    """Seconds of one update on this machine; None where the recipe gives the number of updates."""

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
        time_text = "" if self.duration_s is None else f", about {_duration(self.duration_s)}"
        several = f"{recipe.members} networks, each " if recipe.members > 1 else ""
        return (
            f"{several}{recipe.network.describe()}. Learns from {self.n_training} and is judged on {self.n_validation} "
            f"images; {fit.n_updates} updates of {fit.batch} patches of {patch} px on the "
            f"{choose_device(fit).type}{time_text}."
        )


def settle(
    recipe: Recipe, data: Data, *, clock: Callable[[], float] = time.perf_counter, is_settled: bool = False
) -> TrainingPlan:
    """Return what a run will do; a recipe with a budget gets its number of updates, and of filters.

    Parameters
    ----------
    clock : seconds; the process's CPU time where that is the budget
    is_settled : an interrupted run has settled updates and filters already
    """
    plan = patches.plan_for(recipe, data.training)
    patches.plan_for(recipe, data.validation)
    update_s = None
    if recipe.fit.minutes and not is_settled:
        recipe, update_s = _afforded(recipe, data, clock)
    return TrainingPlan(recipe, len(data.training), len(data.validation), plan.patch_px, update_s)


def _afforded(recipe: Recipe, data: Data, clock: Callable[[], float]) -> tuple[Recipe, float]:
    """Return the recipe with the largest network that gets enough updates, and the seconds of one."""
    budget_s = SHARE_OF_UPDATES * 60 * recipe.fit.minutes
    afforded: tuple[Recipe, float] | None = None
    is_free = "filters" not in recipe.network.model_fields_set
    for filters, enough in ENOUGH_UPDATES.items() if is_free else [(recipe.network.filters, 1)]:
        if afforded and budget_s < enough * afforded[1]:
            break
        tried = _with(recipe, filters=filters)
        update_s = time_update(tried, data, clock=clock)
        if afforded and budget_s < enough * update_s:
            break
        afforded = _with(tried, n_updates=max(1, int(budget_s / update_s))), update_s
    assert afforded is not None
    return afforded


def time_update(recipe: Recipe, data: Data, *, clock: Callable[[], float]) -> float:
    """Return the seconds of one update, its patches included: the median of a few, after a first one."""
    plan = patches.plan_for(recipe, data.training, turns=data.turns)
    fitter = Fitter(recipe, member=0, seen=measured_patches(recipe, data, n=recipe.fit.batch))
    took: list[float] = []
    begun = clock()
    for number in range(1 + N_TIMED):
        start = clock()
        fitter.step(patches.draw_batch(data.training, plan, n=recipe.fit.batch, rng=np.random.default_rng(number)), 1)
        took.append(clock() - start)
        if clock() - begun > LONGEST_TRIAL_S and number:
            break
    return float(np.median(took[1:]))


def _with(recipe: Recipe, *, filters: int | None = None, n_updates: int | None = None) -> Recipe:
    network = recipe.network if filters is None else recipe.network.model_copy(update={"filters": filters})
    fit = recipe.fit if n_updates is None else recipe.fit.model_copy(update={"n_updates": n_updates})
    return recipe.model_copy(update={"network": network, "fit": fit})


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
