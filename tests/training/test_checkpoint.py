"""Checkpoints that training does not go on from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from care_live.errors import TrainingError
from care_live.training.checkpoint import State
from care_live.training.examples import Data
from care_live.training.fit import fit
from tests.training.conftest import small_recipe


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path, small_data: Data) -> None:
    fit(small_recipe(tmp_path), small_data, tmp_path / "run")
    with pytest.raises(TrainingError, match="another recipe"):
        fit(small_recipe(tmp_path, fit={"learning_rate": 1e-4}), small_data, tmp_path / "run")


def test_a_broken_checkpoint_names_the_file(tmp_path: Path, small_data: Data) -> None:
    fit(small_recipe(tmp_path), small_data, tmp_path / "run")
    last = tmp_path / "run" / "member-0" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"last\.pt is no checkpoint"):
        fit(small_recipe(tmp_path), small_data, tmp_path / "run")


def test_the_best_weights_are_those_with_the_least_error() -> None:
    """The likelihood of the scale may be best elsewhere."""
    state = State.fresh(torch.nn.Linear(1, 1))
    found = [state.note(loss=1.0, validation=v, error=e, rate=0.1) for v, e in ((0.5, 0.3), (0.4, 0.4), (0.6, 0.2))]
    assert found == [True, False, True]


def test_a_run_of_before_goes_on_without_its_errors() -> None:
    state = State.fresh(torch.nn.Linear(1, 1))
    state.history.validation += [0.1, 0.2]  # what an older version kept
    assert state.note(loss=1.0, validation=0.3, error=0.3, rate=0.1)
