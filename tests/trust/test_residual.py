"""The residual: with the truth, only the camera's noise is left."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.trust import residual
from tests.make.examined import examined, found
from tests.trust.photons import measured_camera, worm


@pytest.mark.parametrize("seed", [11, 12])
def test_with_the_truth_only_the_cameras_noise_is_left(seed: int) -> None:
    result = found(worm(seed), worm(seed).truth)
    assert result.sd == pytest.approx((1, 1, 1), abs=0.15)
    assert not result.doubts
    assert max(float(np.abs(z).max()) for z in result.maps) < 6
    assert result.worst == ((0, 0),) * 3


def test_planes_that_did_not_come_say_nothing() -> None:
    scene, camera = worm(11), measured_camera(worm(11))
    raw = scene.raw.copy()
    raw[5] = 0
    with_gap = residual.residual_of(raw, scene.truth, camera, without=[5])
    assert not examined(with_gap, camera).doubts
    assert examined(residual.residual_of(raw, scene.truth, camera), camera).doubts, "the gap itself would show"


def test_saturated_pixels_are_lower_bounds() -> None:
    scene, camera = worm(11), measured_camera(worm(11))
    bright = scene.truth * 40
    raw = np.minimum(np.random.default_rng(0).poisson(bright / 2.17) * 2.17, 4095).astype(np.uint16)
    assert (raw == 4095).any()
    found_in = examined(residual.residual_of(raw, bright, camera), camera)
    assert not [doubt for doubt in found_in.doubts if doubt.kind == "invented"]


@pytest.mark.parametrize("shape", [(1, 64, 64), (5, 65, 67), (3, 16, 40), (2, 300, 24)])
def test_any_shape_can_be_examined(shape: tuple[int, int, int]) -> None:
    camera = measured_camera(worm(11), pattern=None)
    raw = np.full(shape, 100, np.uint16)
    result = examined(residual.residual_of(raw, np.full(shape, 100.0, np.float32), camera), camera)
    assert result.maps[0].shape == (shape[0], -(-shape[1] // 2), -(-shape[2] // 2))
    assert not result.doubts
