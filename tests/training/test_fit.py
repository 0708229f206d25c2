"""Fitting: it learns, it is repeatable, and a resumed run is the uninterrupted one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from care_live.training.checkpoint import TrainingHistory, load_state
from care_live.training.data.examples import Data
from care_live.training.fit import Fitter, computes_mixed, fit
from care_live.training.optim import learning_rate, n_plateaus, n_since_best
from care_live.training.preview import Progress
from care_live.training.recipe import FitRecipe
from tests.training.conftest import noisy_pair, small_recipe


def weights(run: Path, member: int = 0) -> dict[str, torch.Tensor]:
    return load_state(run / f"member-{member}" / "last.pt", None, torch.device("cpu"))[0].weights


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_network_learns_one_patch_by_heart(tmp_path: Path) -> None:
    volume = noisy_pair(1, (4, 16, 16))
    recipe = small_recipe(tmp_path, fit={"n_updates": 150, "validate_every": 50, "loss": "mse", "learning_rate": 1e-2})
    history = fit(recipe, Data([volume], [volume]), tmp_path / "run")
    assert history.validation[-1] < 0.35 * history.validation[0] or history.loss[-1] < 0.3 * history.loss[0]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_members_differ(tmp_path: Path, small_data: Data) -> None:
    recipe = small_recipe(tmp_path)
    for name in ("one", "two"):
        fit(recipe, small_data, tmp_path / name)
    fit(recipe, small_data, tmp_path / "one", member=1)
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "one", member=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fitted", "network"),
    [({}, {}), ({"average": 0.9}, {}), ({"optimiser": "muon", "average": 0.9}, {"standardise": True})],
    ids=["plain", "averaged", "muon, standardised"],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path: Path, small_data: Data, fitted: dict[str, Any], network: dict[str, Any]
) -> None:
    whole = small_recipe(tmp_path, network=network, fit={"schedule": "constant", **fitted})
    half = small_recipe(tmp_path, network=network, fit={"schedule": "constant", **fitted, "n_updates": 6})
    fit(whole, small_data, tmp_path / "whole")
    fit(half, small_data, tmp_path / "halves")
    history = fit(whole, small_data, tmp_path / "halves")
    assert history.update == [6, 12]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "halves"))


@pytest.mark.slow
def test_mixed_precision_goes_where_float32_goes(tmp_path: Path, small_data: Data) -> None:
    plain = {"n_updates": 60, "optimiser": "adam", "average": 0.0, "schedule": "constant"}
    fits = {"float32": plain, "mixed": {**plain, "precision": "mixed"}}
    histories = {
        name: fit(small_recipe(tmp_path, fit=changes), small_data, tmp_path / name) for name, changes in fits.items()
    }
    assert all(value.dtype != torch.bfloat16 for value in weights(tmp_path / "mixed").values())
    assert not same(weights(tmp_path / "float32"), weights(tmp_path / "mixed"))  # it did compute in bfloat16
    learnt = histories["float32"].validation[0] - histories["float32"].validation[-1]
    assert learnt > 0
    assert abs(histories["float32"].validation[-1] - histories["mixed"].validation[-1]) < 0.1 * learnt


def test_mixed_precision_on_a_cpu_must_be_asked_for_by_name() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert not computes_mixed(FitRecipe(precision="mixed"), cpu)
    assert computes_mixed(FitRecipe(precision="mixed", device="cpu"), cpu)
    assert computes_mixed(FitRecipe(precision="mixed"), gpu)
    assert not computes_mixed(FitRecipe(), gpu)


def test_a_volume_alone_in_its_batch_gives_its_own_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients(rows_alone: int) -> tuple[float, list[torch.Tensor]]:
        monkeypatch.setattr("care_live.training.fit.ROWS_ALONE", rows_alone)
        fitter = Fitter(small_recipe(tmp_path, fit={"batch": 1}), member=0, folder=tmp_path / "run")
        loss = fitter.step((volume, volume + 0.1), 1)
        return loss, [parameter.grad for parameter in fitter.network.parameters()]

    volume = np.random.default_rng(1).random((1, 1, 4, 16, 16), np.float32)
    (loss, ours), (alone_loss, alone) = gradients(20_480), gradients(0)
    assert loss == pytest.approx(alone_loss, rel=1e-5)
    assert all(torch.allclose(*pair, rtol=1e-3, atol=1e-5) for pair in zip(ours, alone, strict=True))


def test_progress_is_reported_and_the_best_is_kept(tmp_path: Path, small_data: Data) -> None:
    reported: list[Progress] = []
    history = fit(small_recipe(tmp_path), small_data, tmp_path / "run", on_progress=reported.append)
    assert [entry.update for entry in reported if entry.validation_loss is not None] == [6, 12]
    best, _ = load_state(tmp_path / "run" / "member-0" / "best.pt", None, torch.device("cpu"))
    assert best.update == history.update[int(np.argmin(history.error))]
    assert len(history.error) == len(history.validation) == 2


def test_images_of_their_own_choose_the_weights(tmp_path: Path, small_data: Data) -> None:
    """What a network guesses of hidden pixels does not say how it restores an image."""
    flat = replace(small_data, judged=small_data.training)
    chosen, usual = (
        fit(small_recipe(tmp_path), data, tmp_path / name) for name, data in (("judged", flat), ("usual", small_data))
    )
    assert chosen.validation == usual.validation
    assert all(one != other for one, other in zip(chosen.error, usual.error, strict=True))


def test_early_stop_and_plateau_follow_from_the_history() -> None:
    losses = [3.0, 2.0, 2.5, 2.4, 1.0, 1.1, 1.2, 1.3, 1.4]
    assert n_plateaus(losses, patience=2) == 3
    assert n_since_best(TrainingHistory(validation=losses)) == 4
    recipe = FitRecipe(learning_rate=1.0, schedule="plateau", patience=2, warmup_updates=10)
    assert learning_rate(recipe, 100, TrainingHistory(validation=losses)) == 0.125
    assert learning_rate(recipe, 5, TrainingHistory()) == 0.5


def test_training_stops_early(tmp_path: Path, small_data: Data) -> None:
    recipe = small_recipe(tmp_path, fit={"n_updates": 60, "validate_every": 1, "stop_after": 2, "learning_rate": 1e-9})
    assert len(fit(recipe, small_data, tmp_path / "run").update) < 60
