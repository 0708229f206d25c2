"""Intervals and calibration against closed forms and drawn numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from care_live.model import reliability
from care_live.model.card import Calibration


def test_an_honest_scale_covers_what_it_promises() -> None:
    rng = np.random.default_rng(2)
    scale = rng.uniform(0.1, 3, 400_000)
    observed = reliability.coverage(rng.laplace(0, scale), scale)
    assert observed == pytest.approx(reliability.LEVELS, abs=3e-3)
    assert reliability.calibration_error(reliability.LEVELS, observed) < 3e-3


def test_calibration_mends_heavy_tails_on_voxels_it_has_not_seen() -> None:
    rng = np.random.default_rng(3)
    scale = rng.uniform(0.1, 3, (2, 200_000))
    errors = 1.7 * scale * rng.standard_t(3, scale.shape)
    calibration = reliability.fit_calibration(errors[0], scale[0])
    before = reliability.coverage(errors[1], scale[1])
    after = reliability.coverage(errors[1], scale[1], calibration=calibration)
    assert reliability.calibration_error(reliability.LEVELS, before) > 0.05
    assert after == pytest.approx(reliability.LEVELS, abs=0.01)


@given(st.lists(st.floats(0.2, 5), min_size=6, max_size=6), st.floats(0.01, 0.995), st.floats(0.01, 0.995))
def test_intervals_widen_with_their_level(factors: list[float], one: float, other: float) -> None:
    widths = -np.log1p(-np.array(reliability.LEVELS)) * factors
    rising = np.maximum.accumulate(widths) / -np.log1p(-np.array(reliability.LEVELS))
    calibration = Calibration(levels=reliability.LEVELS, factors=tuple(rising.tolist()))
    low, high = sorted((one, other))
    assert reliability.half_width_factor(low, calibration) <= reliability.half_width_factor(high, calibration) + 1e-9


def test_likelihood_of_one_voxel_by_hand() -> None:
    got = reliability.negative_log_likelihood(np.array([0.5]), np.array([0.25]))
    assert got == pytest.approx(2 + math.log(0.5))
