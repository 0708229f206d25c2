"""The fast random numbers have the statistics that they claim."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.simulate import Sensor, noise, sensor

N = 400_000


@pytest.mark.parametrize("expected", [0.0, 0.01, 0.15, 0.7, 3.33, 7.99, 8.01, 20.0, 1200.0, 30_000.0])
def test_poisson_mean_and_variance(expected: float) -> None:
    drawn = noise.poisson(np.full(N, expected, np.float32), noise.generator(7, 1)).astype(np.float64)
    assert np.array_equal(drawn, np.floor(drawn))
    assert drawn.min() >= 0
    tolerance = 4.5 * np.sqrt(expected / N)
    assert abs(drawn.mean() - expected) <= tolerance + 1e-4 * expected + 1e-5
    assert drawn.var() == pytest.approx(expected, rel=0.015, abs=2e-3)


@pytest.mark.parametrize("expected", [0.5, 4.2, 9.0, 25.0])
def test_poisson_distribution(expected: float) -> None:
    """The largest distance between the two cumulative distributions stays within Kolmogorov's bound."""
    drawn = noise.poisson(np.full(N, expected, np.float32), noise.generator(7, 2)).astype(np.int64)
    exact = np.random.default_rng(1).poisson(expected, N)
    bins = np.arange(80)
    ours, theirs = (np.cumsum(np.bincount(sample, minlength=80)[:80]) / N for sample in (drawn, exact))
    assert np.abs(ours - theirs)[bins].max() < 2.5 * np.sqrt(2 / N)


def test_normal_moments() -> None:
    drawn = noise.normal((N,), noise.generator(3)).astype(np.float64)
    assert abs(drawn.mean()) < 4.5 / np.sqrt(N)
    assert drawn.var() == pytest.approx(1.0, rel=0.012)
    assert np.mean(drawn**4) == pytest.approx(3.0, rel=0.03)


def test_a_key_gives_its_own_numbers_every_time() -> None:
    expected = np.full((8, 8), 5.0, np.float32)
    first, again, other = (noise.poisson(expected, noise.generator(1, key)) for key in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_photon_transfer_curve_has_the_gain_as_slope() -> None:
    """Variance against mean of many frames: the slope is the gain, the intercept the read noise."""
    camera = sensor((64, 64), 5)
    means, variances = [], []
    for level in (2.0, 20.0, 100.0, 400.0):
        electrons = np.full((64, 64), level, np.float32)
        frames = np.stack([camera.expose(electrons, noise.generator(9, i)) for i in range(120)]).astype(np.float64)
        means.append(frames.mean())
        variances.append(frames.var(axis=0, ddof=1).mean())
    slope, intercept = np.polyfit(means, variances, 1)
    assert slope == pytest.approx(2.17, rel=0.03)
    read = np.sqrt(np.mean(camera.read_noise.astype(np.float64) ** 2)) * 2.17
    assert intercept + slope * 100 == pytest.approx(read**2, abs=6.0)


def test_mean_of_many_frames_is_the_expected_counts() -> None:
    camera = sensor((32, 32), 2)
    electrons = np.linspace(0, 30, 1024, dtype=np.float32).reshape(32, 32)
    frames = np.stack([camera.expose(electrons, noise.generator(1, i)) for i in range(600)])
    own = camera.offset + camera.gain * (electrons + camera.dark_electrons)
    error = frames.mean(axis=0) - own
    assert np.abs(error).max() < 5 * 2.5 * np.sqrt((30 + 9) / 600) + 0.05
    assert abs(error.mean()) < 0.05


def test_read_noise_median_and_saturation() -> None:
    camera: Sensor = sensor((256, 256), 1)
    assert np.median(camera.read_noise) == pytest.approx(1.6, rel=0.02)
    assert camera.read_noise.max() > 3.0
    flooded = camera.expose(np.full((256, 256), 1e5, np.float32), noise.generator(0))
    assert flooded.min() == flooded.max() == 65535
