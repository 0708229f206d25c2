"""Errors of level are said in words, and are no structures."""

from __future__ import annotations

import numpy as np

from care_live.trust import levels, residual
from care_live.trust.examiner import Examiner
from tests.trust.photons import CARD, SHAPE, measured_camera, noise_of, nucleus, restored_of, worm

IDEAL = {"pattern": None, "pattern_sd": 0.0}


def bright() -> np.ndarray:
    places = np.random.default_rng(3).uniform((2, 10, 10), (14, 118, 118), (60, 3))
    return np.full(SHAPE, 101, np.float32) + sum(nucleus(tuple(place), 40) for place in places)


def test_right_levels_say_nothing() -> None:
    scene, camera = worm(11), measured_camera(worm(11))
    _, off = levels.levelled(residual.residual_of(scene.raw, scene.truth, camera))
    assert abs(off.pedestal) < 0.2
    assert off.planes == ()
    assert levels.cautions(off, 40) == []


def test_a_plane_with_more_light_flickers_and_is_no_structure() -> None:
    expected, camera = bright(), measured_camera(worm(11), **IDEAL)
    flickering = expected.copy()
    flickering[7] = 101 + 1.3 * (flickering[7] - 101)
    trust = Examiner(CARD, camera).examine(restored_of(noise_of(flickering), expected))
    assert trust.colour == "amber", trust
    assert "plane 7 differs from its neighbours by up to 2" in trust.reasons[0]


def test_another_offset_is_said_and_is_no_structure() -> None:
    expected, camera = bright(), measured_camera(worm(11), **IDEAL)
    trust = Examiner(CARD, camera).examine(restored_of(noise_of(expected + 6), expected))
    assert trust.colour == "amber", trust
    assert "counts brighter than they are restored" in trust.reasons[0]
