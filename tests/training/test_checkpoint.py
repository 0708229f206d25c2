"""Checkpoints that training does not go on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.errors import TrainingError
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
