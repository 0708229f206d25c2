"""Patches that a network is trained on."""

from __future__ import annotations

import numpy as np

from care_live.training.data import patches
from care_live.training.data.patches import PatchPlan
from tests.training.conftest import noisy_pair


def test_patches_are_drawn_around_bright_voxels() -> None:
    volume = noisy_pair(2, (6, 64, 64))
    bright = {tuple(voxel) for voxel in volume.foreground.tolist()}
    plan, rng = PatchPlan((4, 16, 16), foreground=1.0), np.random.default_rng(0)
    for _ in range(50):
        corner = patches.draw_corner(volume, plan, rng)
        inside = np.all([np.array(voxel) >= corner for voxel in bright], axis=1)
        inside &= np.all([np.array(voxel) < np.add(corner, (4, 16, 16)) for voxel in bright], axis=1)
        assert inside.any()


def test_augmentation_moves_input_and_target_alike() -> None:
    image = np.arange(4 * 8 * 8, dtype=np.float32).reshape(1, 4, 8, 8)
    seen = set()
    for seed in range(40):
        plan = PatchPlan((4, 8, 8), 1.0)
        turned = patches.augment(patches.Patch(image, 2 * image), plan, np.random.default_rng(seed))
        assert (turned.target == 2 * turned.input).all()
        seen.add(turned.input.tobytes())
    assert len(seen) == 16  # 8 in the plane, twice along z
