"""What follows from a budget in minutes."""

from __future__ import annotations

import itertools
from pathlib import Path

from care_live.training.examples import Data
from care_live.training.recipe import Recipe
from care_live.training.train import settle
from tests.training.conftest import noisy_pair, small_recipe


def test_the_budget_decides_on_filters_and_updates(small_data: Data, tmp_path: Path) -> None:
    free = small_recipe(tmp_path).model_dump(exclude_unset=True)
    del free["network"]["filters"], free["fit"]["n_updates"]

    def settled(minutes: float, step_s: float) -> tuple[int, int]:
        tree = free | {"fit": free["fit"] | {"minutes": minutes}}
        ticks = itertools.count(0.0, step_s)
        recipe = settle(Recipe.model_validate(tree), small_data, clock=lambda: next(ticks)).recipe
        return recipe.network.filters, recipe.fit.n_updates

    assert settled(1.0, 0.5) == (8, 114)
    assert settled(10.0, 0.5) == (16, 1140)
    assert settled(60.0, 0.25)[0] == 32


def test_few_images_are_not_learnt_by_heart(small_data: Data, tmp_path: Path) -> None:
    tree = small_recipe(tmp_path, fit={"minutes": 60.0}).model_dump(exclude_unset=True)
    plan = settle(Recipe.model_validate(tree), small_data, clock=itertools.count(0.0, 0.25).__next__)
    assert plan.recipe.fit.n_updates == 300 * 3 * 6 * 32 * 32 // (2 * 4 * 16 * 16)
    assert "more would be learnt by heart" in plan.describe()


def test_noisy_images_alone_are_learnt_by_heart_sooner(small_data: Data, tmp_path: Path) -> None:
    tree = small_recipe(tmp_path, fit={"minutes": 60.0}).model_dump(exclude_unset=True)
    tree["data"] = {"kind": "noisy", "images": [str(tmp_path)]}
    tree["fit"]["loss"] = "hidden_mse"
    tree["network"]["probabilistic"] = False
    del tree["network"]["filters"]
    plan = settle(Recipe.model_validate(tree), small_data, clock=itertools.count(0.0, 0.01).__next__)
    assert plan.recipe.fit.n_updates == 800  # 40 passes through so few voxels would be 360
    large = Data([noisy_pair(seed, (6, 96, 96)) for seed in range(3)], small_data.validation)
    updates = settle(Recipe.model_validate(tree), large, clock=itertools.count(0.0, 0.01).__next__).recipe.fit.n_updates
    assert updates == 40 * 3 * 6 * 96 * 96 // (2 * 4 * 16 * 16)
    assert plan.recipe.network.filters == 16  # with a budget for 32


def test_a_recipe_with_updates_is_left_as_it_is(small_data: Data, tmp_path: Path) -> None:
    plan = settle(small_recipe(tmp_path), small_data)
    assert plan.recipe.fit.n_updates == 12
    assert plan.duration_s is None
