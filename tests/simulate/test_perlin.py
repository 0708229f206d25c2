"""Perlin noise: repeatable, smooth on the scale of its cells, zero on their corners."""

from __future__ import annotations

import numpy as np

from care_live.simulate.perlin import Perlin

PLACES = np.random.default_rng(0).uniform(-40, 40, (3, 2000))


def test_it_follows_from_its_seed_and_the_place() -> None:
    noise = Perlin(3, cell_um=5.0).at(*PLACES)
    np.testing.assert_array_equal(noise, Perlin(3, cell_um=5.0).at(*PLACES))
    np.testing.assert_array_equal(noise[:10], Perlin(3, cell_um=5.0).at(*PLACES[:, :10]))
    assert np.abs(noise - Perlin(4, cell_um=5.0).at(*PLACES)).max() > 0.5


def test_corners_of_the_lattice_are_zero_and_values_about_one() -> None:
    z, y, x = np.mgrid[:4, :4, :4] * 5.0
    np.testing.assert_allclose(Perlin(3, cell_um=5.0).at(z, y, x), 0, atol=1e-6)
    noise = Perlin(3, cell_um=5.0).at(*PLACES)
    assert 0.2 < noise.std() < 0.6 and np.abs(noise).max() < 1.6


def test_it_is_smooth_across_the_borders_of_cells() -> None:
    x = np.linspace(-12, 12, 4801)
    slope = np.diff(Perlin(3, cell_um=5.0).at(1.0, 2.0, x).astype(float)) / np.diff(x)
    assert np.abs(np.diff(slope)).max() < 0.05


def test_arrays_and_numbers_broadcast() -> None:
    plane = Perlin(1, cell_um=2.0).at(0.5, np.arange(4.0)[:, None], np.arange(5.0))
    assert plane.shape == (4, 5) and plane.dtype == np.float32
