"""Errors of level are said in words, and are no structures."""

from __future__ import annotations

import numpy as np
import pytest

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
    assert "plane 8 differs from its neighbours by up to 2" in trust.reasons[0]


def brightened(planes: dict[int, float]) -> tuple[int, ...]:
    """Return which planes are said to flicker where some have other light than they are restored with."""
    expected, camera = bright(), measured_camera(worm(11), **IDEAL)
    flickering = expected.copy()
    for z, light in planes.items():
        flickering[z] = 101 + light * (flickering[z] - 101)
    _, off = levels.levelled(residual.residual_of(noise_of(flickering), expected, camera))
    return off.planes


def test_what_a_network_is_off_by_towards_the_end_of_a_stack_is_no_flicker() -> None:
    assert brightened({0: 1.12, 1: 1.08}) == ()
    assert brightened({12: 1.04, 13: 1.08, 14: 1.12, 15: 1.16}) == ()
    assert brightened({15: 1.5}) == (15,)


def test_each_of_two_planes_that_flicker_is_said() -> None:
    assert brightened({5: 1.3, 10: 0.7}) == (5, 10)
    assert brightened({7: 1.3, 8: 1.3}) == (7, 8)


def test_another_offset_is_said_and_is_no_structure() -> None:
    expected, camera = bright(), measured_camera(worm(11), **IDEAL)
    trust = Examiner(CARD, camera).examine(restored_of(noise_of(expected + 6), expected))
    assert trust.colour == "amber", trust
    assert "counts brighter than they are restored" in trust.reasons[0]


def of_another_tone(expected: np.ndarray) -> np.ndarray:
    """Return a restoration with a background that is too bright, and dim light that is too dark, everywhere."""
    light = expected - 101
    return np.asarray(expected + 0.4 - 0.09 * np.clip(light, 0, 12), np.float32)


def test_light_that_is_off_by_its_brightness_alone_is_no_structure() -> None:
    expected, camera = bright(), measured_camera(worm(11), **IDEAL)
    expected[:, :, 40:90] += 8
    left = residual.residual_of(noise_of(expected), of_another_tone(expected), camera)
    level, _ = levels.levelled(left)
    places = {"dark": np.s_[:, :, 50:], "dim": np.s_[:, :, 22:44]}
    before, after = (
        [float(one.weighted[at].sum() / one.weight[at].sum()) for at in places.values()] for one in (left, level)
    )
    assert before == pytest.approx([-0.4, 0.3], abs=0.15)
    assert after == pytest.approx([0, 0], abs=0.07)


@pytest.mark.parametrize("electrons", [4, -4])
def test_an_object_is_found_in_light_that_is_off(electrons: float) -> None:
    tissue = np.full(SHAPE, 101, np.float32)
    tissue[:, :, 40:90] += 8
    camera, place = measured_camera(worm(11), **IDEAL), (8.0, 64.0, 64.0)
    wrong = of_another_tone(tissue) + nucleus(place, electrons)
    (doubt, *_) = Examiner(CARD, camera).examine(restored_of(noise_of(tissue), wrong)).doubts
    assert np.abs(np.subtract(doubt.place_px, place)).max() <= 4
    assert doubt.kind == ("invented" if electrons > 0 else "missing")


def test_what_is_right_is_not_accused_where_all_else_is_too_dark() -> None:
    tissue = np.full(SHAPE, 101, np.float32)
    tissue[:, :, 30:100] += 14
    dark = tissue - np.where(tissue > 110, 1.4, 0).astype(np.float32)
    dark[4:12, 50:70, 50:70] = tissue[4:12, 50:70, 50:70] + 0.6
    trust = Examiner(CARD, measured_camera(worm(11), **IDEAL)).examine(restored_of(noise_of(tissue), dark))
    assert not [doubt for doubt in trust.doubts if doubt.kind == "invented"], trust


def test_offsets_of_pixels_that_the_camera_file_has_are_no_error_of_level() -> None:
    """A camera of two halves: the level of its larger half is not that of the whole volume."""
    scene, halves = worm(11), np.full(SHAPE[1:], -120, np.float32)
    halves[SHAPE[1] // 3 :] = 60
    raw, camera = scene.raw + halves, measured_camera(scene, pattern=halves)
    assert levels.gross_error(raw, scene.truth, camera) == 0
    assert levels.gross_error(raw, scene.truth, measured_camera(scene, pattern=None)) == pytest.approx(60, abs=5)
    assert levels.gross_error(scene.raw, np.zeros_like(scene.truth), measured_camera(scene)) > 90


def test_rows_that_are_read_with_a_noise_of_their_own_are_no_flicker() -> None:
    expected, camera = bright(), measured_camera(worm(11), pattern=None)
    rows = np.random.default_rng(8).normal(0, 4, (*expected.shape[:2], 1))
    raw = np.rint(noise_of(expected) + rows).clip(0).astype(np.uint16)
    _, off = levels.levelled(residual.residual_of(raw, expected, camera))
    assert off.planes == (), off
