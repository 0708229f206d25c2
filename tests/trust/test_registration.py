"""The shift between two images."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.trust import registration
from tests.training.conftest import blobs


@pytest.mark.parametrize("shift", [(0, 0, 0), (0, 3, -2), (1, 0, 4)])
def test_registration_finds_the_shift(shift: tuple[int, ...]) -> None:
    clean = blobs(4, (8, 64, 64))
    noisy = clean + np.random.default_rng(0).normal(0, 60, clean.shape).astype(np.float32)
    found = registration.measure(np.roll(noisy, shift, axis=(0, 1, 2)), clean)
    assert found.is_certain
    assert found.shift_px == pytest.approx(shift, abs=0.3)
