"""Separable smoothing against scipy, and the laws that make its variance exact."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from care_live.trust.smooth import largest, smooth, smooth_at, sums_of_squares

SIGMA = (1.5, 2.5, 1.2)


def test_inside_it_is_a_gaussian() -> None:
    volume = np.random.default_rng(0).normal(size=(24, 230, 110)).astype(np.float32)
    ours = smooth(volume, SIGMA)[8:-8, 12:-12, 12:-12]
    theirs = ndimage.gaussian_filter(volume, SIGMA, truncate=3.5)[8:-8, 12:-12, 12:-12]
    assert np.abs(ours - theirs).max() < 1e-2 * theirs.std()


def test_a_constant_stays_to_the_border() -> None:
    assert smooth(np.full((7, 200, 30), 3.0, np.float32), SIGMA) == pytest.approx(3.0, abs=1e-5)


@pytest.mark.parametrize("sigma", [SIGMA, (0.0, 1.5, 4.0)], ids=["volume", "planes"])
@pytest.mark.parametrize("n", [0, 1, 8, 501])
def test_at_places_it_is_what_it_is_everywhere(n: int, sigma: tuple[float, float, float]) -> None:
    """Of few only the windows around them are read, of many the whole volume is; corners and borders are among them."""
    rng = np.random.default_rng(3)
    volume = rng.normal(100, 10, size=(9, 130, 70)).astype(np.float32)
    corners = [(z, y, x) for z in (0, 8) for y in (0, 129) for x in (0, 69)]
    inside = rng.integers(0, volume.shape, (n, 3)).tolist()
    places = np.array([*corners, *inside][:n], np.intp).reshape(n, 3)
    found = smooth_at(volume, sigma, tuple(places.T))
    assert found.shape == (n,)
    assert found == pytest.approx(smooth(volume, sigma)[tuple(places.T)], rel=1e-5)


def test_the_square_gives_the_variance_of_white_noise() -> None:
    rng = np.random.default_rng(1)
    smoothed = [smooth(rng.normal(size=(9, 60, 60)).astype(np.float32), SIGMA) for _ in range(60)]
    promised = smooth(np.ones((9, 60, 60), np.float32), SIGMA, 2)
    assert np.var(smoothed, axis=0).mean() == pytest.approx(float(promised.mean()), rel=0.05)


def test_sums_of_squares_are_those_of_a_smoothed_constant() -> None:
    promised = smooth(np.ones((6, 250, 9), np.float32), SIGMA, 2)
    along = [sums_of_squares(n, sigma) for n, sigma in zip((6, 250, 9), SIGMA, strict=True)]
    assert promised == pytest.approx(np.einsum("z,y,x->zyx", *along), rel=1e-5)


def test_an_axis_of_width_zero_is_left() -> None:
    volume = np.random.default_rng(2).normal(size=(5, 20, 20)).astype(np.float32)
    assert smooth(volume, (0.0, 2.0, 2.0))[2] == pytest.approx(smooth(volume[2:3], (0.0, 2.0, 2.0))[0], abs=1e-6)
    assert sums_of_squares(4, 0.0).tolist() == [1, 1, 1, 1]


def test_the_largest_nearby_is_that_of_a_window() -> None:
    volume = np.random.default_rng(2).normal(size=(5, 12, 9)).astype(np.float32)
    expected = ndimage.maximum_filter(volume, (13, 5, 3), mode="constant", cval=-np.inf)
    assert np.array_equal(largest(volume, (6, 2, 1)), expected)
