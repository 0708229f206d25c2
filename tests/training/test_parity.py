"""An exported file computes what the network computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.errors import ModelError
from care_live.model import checks
from care_live.training.ensemble import Ensemble
from care_live.training.export import Deployed, export_members
from care_live.training.parity import check_against_torch
from tests.make.recipes import untrained
from tests.training.conftest import small_recipe

pytestmark = pytest.mark.slow  # torch takes some seconds to trace a graph


def test_the_file_passes_the_safety_checks_and_a_wrong_one_is_caught(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    members = untrained(recipe)
    card = export_members(members, recipe, tmp_path / "net.onnx")
    checks.check(tmp_path / "net.onnx")
    other = Deployed(Ensemble(untrained(recipe)), recipe.network, undo=(0,)).eval()
    with pytest.raises(ModelError, match="differs from torch"):
        check_against_torch(tmp_path / "net.onnx", card, other)
