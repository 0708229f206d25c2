"""Training pairs: reproducible, matched, dim by the promised amount."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.simulate import GaussianSpot, pair

SPOT = GaussianSpot()


@pytest.mark.slow
def test_same_seed_same_pair_and_other_seed_another() -> None:
    first, again, other = (pair(seed, (4, 48, 48), psf=SPOT) for seed in (11, 11, 12))
    assert np.array_equal(first.clean, again.clean)
    assert np.array_equal(first.low, again.low)
    assert not np.array_equal(first.clean, other.clean)


def test_shapes_and_types() -> None:
    made = pair(1, (5, 40, 56), psf=SPOT)
    assert made.clean.shape == made.low.shape == (5, 40, 56)
    assert (made.clean.dtype, made.low.dtype) == (np.float32, np.uint16)


def test_low_is_a_noisy_clean() -> None:
    made = pair(2, (8, 128, 128), psf=SPOT)
    residual = made.low.astype(np.float64) - made.clean
    assert abs(residual.mean()) < 0.3
    signal = (made.clean - 100) * 2.17
    read = (1.6 * 2.17) ** 2 * np.exp(2 * 0.3**2)
    assert np.isclose(residual.var(), signal.mean() + read + 1.5**2 + 1 / 12, rtol=0.08)


def test_low_light_gives_bright_nuclei_about_20_electrons() -> None:
    peaks = [(np.quantile(pair(seed, (24, 256, 256), psf=SPOT).clean, 0.999) - 100) / 2.17 for seed in range(3)]
    assert 12 < np.mean(peaks) < 30


def test_laser_power_scales_the_light() -> None:
    low, high = (pair(5, (3, 32, 32), psf=SPOT, laser_power=power).clean - 100 for power in (1.0, 60.0))
    dark = 0.15 * 2.17
    assert np.allclose(high - dark, 60 * (low - dark), rtol=1e-3, atol=0.05)


@pytest.mark.slow
def test_every_small_view_shows_some_worm() -> None:
    assert all(np.ptp(pair(seed, (8, 48, 48), psf=SPOT).clean) > 10 for seed in range(10))
