"""The worm: seeded, inside its field, moving, and made of nuclei that keep apart."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.simulate import Grid, Worm
from care_live.simulate.grid import refine

FIELD_UM = (96.0, 96.0)


@pytest.fixture(scope="module")
def worm() -> Worm:
    return Worm(3, FIELD_UM, centre_um=(10.0, 5.0, -7.0))


def test_same_seed_is_the_same_worm(worm: Worm) -> None:
    twin = Worm(3, FIELD_UM, centre_um=(10.0, 5.0, -7.0))
    assert np.array_equal(worm.particles(12.5).position_um, twin.particles(12.5).position_um)
    assert np.array_equal(worm.particles(12.5).brightness, twin.particles(12.5).brightness)


def test_another_seed_is_another_worm(worm: Worm) -> None:
    other = Worm(4, FIELD_UM, centre_um=(10.0, 5.0, -7.0))
    assert not np.array_equal(other.particles(0.0).position_um, worm.particles(0.0).position_um)


@pytest.mark.parametrize("seed", range(6))
def test_worm_stays_in_its_field(seed: int) -> None:
    worm = Worm(seed, FIELD_UM, thickness_um=20.0, centre_um=(10.0, 5.0, -7.0))
    for t_s in np.linspace(0, 500, 60):
        away = np.abs(worm.particles(float(t_s)).position_um - (10.0, 5.0, -7.0)).max(axis=0)
        assert np.all(away <= (10.0, 48.0, 48.0)), f"seed {seed} left its field at {t_s} s: {away} um"


def test_worm_moves_but_does_not_jump(worm: Worm) -> None:
    steps = [
        np.linalg.norm(worm.particles(t + 1.0).position_um - worm.particles(t).position_um, axis=1).max()
        for t in np.arange(0.0, 60.0, 5.0)
    ]
    assert min(steps) > 1.0
    assert max(steps) < 20.0


def test_nuclei_keep_apart_in_the_straight_body(worm: Worm) -> None:
    place = worm.particles(0.0).position_um
    away = np.linalg.norm(place[:, None] - place, axis=2) + 100 * np.eye(len(place))
    assert np.quantile(away.min(axis=1), 0.05) > 1.0


def test_a_few_hundred_nuclei_for_the_default_field() -> None:
    assert 300 <= len(Worm(1).particles(0.0).position_um) <= 1000


def test_channels_show_the_same_nuclei_in_correlated_brightness(worm: Worm) -> None:
    one, two = worm.particles(0.0, 0), worm.particles(0.0, 1)
    assert np.array_equal(one.position_um, two.position_um)
    correlation = np.corrcoef(np.log(one.brightness), np.log(two.brightness))[0, 1]
    assert 0.5 < correlation < 0.98


def test_haze_fills_the_body_and_nothing_else(worm: Worm) -> None:
    plane = Grid.centred((1, 192, 192), (1.0, 0.5, 0.5), (10.0, 5.0, -7.0))
    haze = worm.haze(plane, 0.0)
    nearby = worm.particles(0.0).position_um
    central = nearby[np.abs(nearby[:, 0] - 10.0) < 3.0]
    pixel = np.rint((central[:, 1:] - plane.origin_um[1:]) / 0.5).astype(int)
    assert np.mean(haze[pixel[:, 0], pixel[:, 1]] > 0.01) > 0.9
    assert np.mean(haze > 0.01) < 0.4
    assert worm.haze(Grid.centred((1, 192, 192), (1.0, 0.5, 0.5), (40.0, 5.0, -7.0)), 0.0).max() == 0.0


def test_refining_keeps_slopes_and_knots() -> None:
    plane = Grid((1, 30, 41), (1.0, 0.5, 0.5), (0.0, 3.0, -2.0))
    coarse = plane.coarse(4)

    def slope(grid: Grid) -> np.ndarray:
        return (2 * grid.axis_um(1)[:, None] - 3 * grid.axis_um(2)).astype(np.float32)

    assert np.allclose(refine(slope(coarse), 4, plane.shape_px[1:]), slope(plane), atol=1e-4)
