"""Images that describe what a network was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from care_live.training import domain_images


def test_what_a_recipe_makes_is_described_without_training(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "few"\n[data]\nkind = "simulated"\nspecimens = { granules = 2 }\nvalidation = { granules = 1 }\n'
        "shape_px = [4, 64, 64]\nvoxel_sizes_um = [[1.0, 0.5, 0.5]]\nlaser_power = [1.0, 2.0]\n"
    )
    taken = domain_images.of_recipe(recipe)
    assert len(taken.parts) >= 90 and all(part.dtype == np.uint16 for part in taken.parts)
    assert taken.origin.endswith("parts of the training's inputs, made anew by recipe.toml")
