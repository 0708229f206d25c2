"""Recipes that ship are valid, and others say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.errors import ConfigError
from care_live.training import recipe
from tests.make.recipes import RECIPE

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("train_*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_ships_is_valid(path: Path) -> None:
    assert recipe.load(path).name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 1", "name = 1"),
        ("nonsense", "is not TOML"),
        (RECIPE + "\n[fitt]\n", "fitt"),
        (RECIPE.replace("depth = 1", "depth = 1\nprobabilistic = false"), "laplace needs"),
        (RECIPE.replace("[4, 16, 16]", "[4, 15, 16]"), "multiples of"),
        (RECIPE.replace("[network]", 'preset = "csbdeep-4d"\n[network]'), "preset must be one of"),
    ],
    ids=["type", "no TOML", "unknown section", "loss without head", "patch", "preset"],
)
def test_a_wrong_recipe_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        recipe.load(tmp_path / "wrong.toml")
