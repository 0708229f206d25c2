"""What every volume that is drawn at once promises: repeatable, and bright at one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from care_live.simulate.forms import Pixels, draw_forms
from care_live.simulate.nuclei import draw_nuclei

SHAPE = (12, 96, 88)
VOXEL_UM = (0.5, 0.5, 0.5)
DRAWN = pytest.mark.parametrize(
    "draw",
    [
        lambda seed: draw_forms(seed, SHAPE),
        lambda seed: draw_forms(seed, SHAPE, VOXEL_UM),
        lambda seed: draw_nuclei(seed, SHAPE, VOXEL_UM),
    ],
    ids=["forms", "confocal forms", "nuclei"],
)


@DRAWN
def test_the_same_seed_is_the_same_volume(draw: Callable[[int], Pixels]) -> None:
    one, again, other = (draw(seed) for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.allclose(one, other)


@DRAWN
@pytest.mark.parametrize("seed", range(6))
def test_every_volume_is_bright_at_one_and_never_dark(draw: Callable[[int], Pixels], seed: int) -> None:
    volume = draw(seed)
    assert volume.shape == SHAPE
    assert volume.dtype == np.float32
    assert np.isfinite(volume).all()
    assert volume.min() >= 0
    assert np.percentile(volume, 99.9) == pytest.approx(1, rel=1e-4)
