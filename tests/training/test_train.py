"""What follows from a budget in minutes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from care_live.metrics import Scores
from care_live.training import report
from care_live.training.data.examples import Data
from care_live.training.evaluation import filter_verdict
from care_live.training.evaluation.evaluate import ScoreRow
from care_live.training.recipe import Recipe
from care_live.training.train import settle, train
from tests.make.verdicts import card_verdict
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


@pytest.mark.slow
def test_a_run_without_a_verdict_keeps_none_of_an_earlier_run(
    small_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, known, drawn = tmp_path / "run", Scores(0.1, 30.0, 0.5), []
    run.mkdir()
    filter_verdict.save(run, card_verdict(raw_db=25.0, filter_db=28.0, network_db=30.0))
    no_error = ScoreRow("validation", 1, known, known, Scores(0.1, float("nan"), 0.5), known)
    monkeypatch.setattr("care_live.training.train.gather", lambda *_: replace(small_data, second_noise=0.5))
    monkeypatch.setattr("care_live.training.train.estimate", lambda *_, **__: no_error)
    monkeypatch.setattr(report, "draw_training", lambda *_, rows, title, **__: drawn.append((rows, title)))
    assert train(small_recipe(tmp_path), run).verdict is None
    assert filter_verdict.load(run) is None
    assert drawn == [([], "")]
