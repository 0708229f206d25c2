"""Beads, granules and tubules: inside their box at any moment, and always the same."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.simulate.grid import Grid
from care_live.simulate.structures import Beads, Box, Granules, Tubules

BOX = Box((10.0, 30.0, 40.0), centre_um=(5.0, 0.0, -3.0))
EVERY = [Beads, Granules, Tubules]


def inside(places: np.ndarray) -> np.ndarray:
    return (np.abs(places - BOX.centre_um) <= np.asarray(BOX.size_um) / 2 + 1e-9).all(axis=1)


def test_what_leaves_the_box_comes_in_on_the_other_side() -> None:
    outside = np.array([[5.0, 0.0, 17.5], [-0.5, 0.0, 0.0]])
    np.testing.assert_allclose(BOX.wrap(outside), [[5.0, 0.0, -22.5], [9.5, 0.0, 0.0]])
    drawn = BOX.draw(500, np.random.default_rng(0))
    assert inside(drawn).all()
    np.testing.assert_allclose(BOX.wrap(drawn), drawn)


@pytest.mark.parametrize("kind", EVERY)
def test_the_same_moment_always_looks_the_same(kind: type[Beads]) -> None:
    one, same = kind(3, BOX), kind(3, BOX)
    np.testing.assert_array_equal(one.particles(2.5).position_um, same.particles(2.5).position_um)
    assert not np.allclose(one.particles(0.0).position_um, one.particles(2.5).position_um), "it moves"
    assert not np.allclose(one.particles(0.0).position_um, kind(4, BOX).particles(0.0).position_um[:8].mean())


@pytest.mark.parametrize("kind", [Beads, Granules])
def test_what_drifts_stays_in_the_box(kind: type[Beads]) -> None:
    for t_s in (0.0, 100.0, 5000.0):
        assert inside(kind(3, BOX).particles(t_s).position_um).all()


@pytest.mark.parametrize("kind", EVERY)
def test_another_dye_is_dimmer_at_the_same_places(kind: type[Beads]) -> None:
    first, second = kind(3, BOX).particles(1.0, channel=0), kind(3, BOX).particles(1.0, channel=1)
    np.testing.assert_array_equal(first.position_um, second.position_um)
    np.testing.assert_allclose(first.brightness, 1.5 * second.brightness, rtol=1e-5)


def test_the_background_is_smooth_and_does_not_move() -> None:
    granules, plane = Granules(3, BOX), Grid((1, 40, 50), (1.0, 0.5, 0.5), (5.0, -10.0, -12.0))
    haze = granules.haze(plane, 0.0)
    assert haze.shape == (40, 50)
    np.testing.assert_array_equal(haze, granules.haze(plane, 90.0))
    assert np.abs(np.diff(haze, axis=1)).max() < 0.1 * haze.max()
