"""What is around a place: light, and whether the surroundings show what their brightness is off by."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.trust.residual import Residual
from care_live.trust.surroundings import Surroundings
from tests.trust.photons import GAIN, measured_camera, worm

SHAPE = (16, 64, 64)
"""Squares of 2 pixels."""


def toned_by(counts: float, shown: np.ndarray) -> Residual:
    """Return a residual without noise, from which an error of all bright places was taken that not all of them show."""
    weight, signal = np.full(SHAPE, 4 / 50, np.float32), np.full(SHAPE, 9 * GAIN, np.float32)
    untoned = np.asarray(weight * counts * shown, np.float32)
    return Residual(untoned - weight * np.float32(counts), weight, signal, (), untoned)


def test_surroundings_say_where_the_error_of_their_brightness_is_not() -> None:
    shown = np.ones(SHAPE, np.float32)
    shown[:, :, 32:] = 0
    share = Surroundings(toned_by(1.0, shown), measured_camera(worm(11)), 60, None).absent_tone(SHAPE)
    assert share.shape == SHAPE
    assert share[8, 32, 8] == pytest.approx(0, abs=0.02)
    assert share[8, 32, 56] > 0.9


def test_the_place_itself_says_nothing_of_its_surroundings() -> None:
    shown = np.ones(SHAPE, np.float32)
    shown[7:10, 30:34, 30:34] = 6  # an object that was left out
    share = Surroundings(toned_by(1.0, shown * 0), measured_camera(worm(11)), 60, None).absent_tone(SHAPE)
    with_object = Surroundings(toned_by(1.0, np.where(shown > 1, 6.0, 0.0)), measured_camera(worm(11)), 60, None)
    assert with_object.absent_tone(SHAPE)[8, 32, 32] == pytest.approx(share[8, 32, 32], abs=0.1)


def test_where_nothing_was_taken_nothing_is_absent() -> None:
    left = toned_by(1.0, np.ones(SHAPE, np.float32))
    plain = Residual(left.weighted, left.weight, left.signal, ())
    assert not Surroundings(plain, measured_camera(worm(11)), 60, None).absent_tone(SHAPE).any()
