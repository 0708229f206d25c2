"""The shape of a particle: a ball with a soft edge, with or without a texture."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.simulate.specimen import Profile

AXIS = np.linspace(-3, 3, 61)


def test_a_ball_has_the_volume_of_a_ball() -> None:
    density = Profile(2.0, edge_um=0.3, peak=1.5).density(AXIS, AXIS, AXIS)
    assert density.max() == pytest.approx(1.5)
    assert density.sum() * 0.1**3 == pytest.approx(1.5 * 4 / 3 * np.pi * 2.0**3, rel=0.02)


def test_beyond_its_reach_there_is_nothing() -> None:
    ball = Profile(2.0, edge_um=0.3, contrast=0.4)
    distance = np.sqrt(AXIS[:, None, None] ** 2 + AXIS[:, None] ** 2 + AXIS**2)
    density = ball.density(AXIS, AXIS, AXIS)
    assert not density[distance > ball.reach_um].any()
    assert (density[distance < 1.7] > 0).all(), "dark spots are no holes"


def test_a_texture_follows_from_its_seed_and_the_place() -> None:
    one, same, other = (Profile(2.0, contrast=0.4, texture_seed=seed) for seed in (1, 1, 2))
    inner = AXIS[20:40]
    np.testing.assert_array_equal(one.density(AXIS, AXIS, AXIS), same.density(AXIS, AXIS, AXIS))
    np.testing.assert_array_equal(one.density(AXIS, AXIS, AXIS)[20:40, 20:40, 20:40], one.density(inner, inner, inner))
    assert np.abs(one.density(inner, inner, inner) - other.density(inner, inner, inner)).max() > 0.1
