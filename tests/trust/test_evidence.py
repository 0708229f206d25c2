"""The evidence test: calibrated on the truth, alarmed by what was implanted or erased, blind to nothing in between."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.model.card import EvidenceLimits
from care_live.trust import levels, residual
from tests.make.examined import examined, found
from tests.trust.photons import GAIN, SHAPE, measured_camera, noise_of, nucleus, worm

PLACE = (8.0, 40.0, 90.0)


@pytest.mark.parametrize(("electrons", "kind"), [(4, "invented"), (-4, "missing")])
def test_a_nucleus_of_four_electrons_is_found_where_it_is(electrons: float, kind: str) -> None:
    scene = worm(11)
    wrong = scene.truth + nucleus(PLACE, electrons)
    (doubt, *others) = found(scene, wrong).doubts
    assert doubt.kind == kind
    assert np.abs(np.subtract(doubt.place_px, PLACE)).max() <= 4
    assert not others


def test_an_unknown_pattern_costs_sensitivity_and_gives_no_alarm() -> None:
    scene = worm(11)
    known, unknown = found(scene, scene.truth), found(scene, scene.truth, pattern=None, pattern_sd=1.5)
    assert not unknown.doubts
    wrong = scene.truth + nucleus(PLACE, 4)
    assert found(scene, wrong).doubts[0].sigmas > found(scene, wrong, pattern=None, pattern_sd=1.5).doubts[0].sigmas
    assert known.sd[2] == pytest.approx(unknown.sd[2], abs=0.2)


def test_a_small_error_of_a_bright_structure_is_no_hallucination() -> None:
    scene, camera = worm(11), measured_camera(worm(11), pattern=None)
    bright = 100 + (scene.truth - 100) * 200
    raw = np.random.default_rng(0).poisson((bright - 100) / 2.17) * 2.17 + 100
    raw = np.clip(np.rint(raw), 0, 65534).astype(np.uint16)
    assert not examined(residual.residual_of(raw, (bright - 100) * 1.03 + 100, camera), camera, 8000).doubts


def interval_of(counts: float):
    """Return the same interval everywhere, on wide squares."""
    return np.full((SHAPE[0], SHAPE[1] // 4, SHAPE[2] // 4), counts, np.float32)


def test_an_error_that_the_network_itself_expects_is_no_alarm() -> None:
    truth = np.full(SHAPE, 100, np.float32) + nucleus(PLACE, 200)
    scene = worm(11)._replace(raw=noise_of(truth), truth=truth)
    smoothed = truth - nucleus(PLACE, 26)
    sure, unsure = (found(scene, smoothed, interval_of(counts), pattern=None) for counts in (1, 200))
    assert {doubt.kind for doubt in sure.doubts} == {"missing"}
    assert not unsure.doubts
    assert 0 < unsure.worst[0][1] < EvidenceLimits().missing_of_interval[0]


def test_an_object_that_was_left_out_is_excused_by_no_interval() -> None:
    scene = worm(11)
    unsure = found(scene, scene.truth + nucleus(PLACE, -4), interval_of(40))
    assert [doubt.kind for doubt in unsure.doubts] == ["missing"]
    assert unsure.worst[0][1] < EvidenceLimits().missing_of_interval[0], "by its interval alone it would be excused"
    assert not found(scene, scene.truth, interval_of(40)).doubts


@pytest.mark.parametrize("has_interval", [True, False])
def test_what_is_faint_all_over_the_dark_is_an_error_of_intensity(*, has_interval: bool) -> None:
    """By 0.36 % of the range, which noise lifts beyond its threshold; a part that is 2 % brighter is seen."""
    dark, camera = np.full(SHAPE, 100, np.float32), measured_camera(worm(11), pattern=None)
    brighter = dark + 0.2
    brighter[:, 64:, 64:] += 0.9
    for seed in range(3):
        interval = interval_of(0.7) if has_interval else None
        raw = noise_of(dark, seed)
        faint, seen = (
            examined(residual.residual_of(raw, shown, camera), camera, 55, interval).doubts
            for shown in (dark + np.float32(0.2), brighter)
        )
        assert not faint
        assert {doubt.kind for doubt in seen} == {"invented"}


def test_what_was_left_out_need_not_be_far_beyond_noise() -> None:
    scene = worm(11)
    (doubt,) = found(scene, scene.truth + nucleus((8.0, 64.0, 64.0), -2.5), interval_of(40)).doubts
    assert doubt.kind == "missing"


def test_the_noise_of_each_pixel_sharpens_the_test() -> None:
    scene = worm(11)
    wrong = scene.truth + nucleus(PLACE, 3)
    own = ((scene.sensor.read_noise**2 + 0.15) * 2.17**2).astype(np.float32)
    alike, each = (found(scene, wrong, dark_noise=noise).doubts for noise in (None, own))
    assert each[0].sigmas > alike[0].sigmas


@pytest.mark.parametrize("electrons", [3.6, 3.7])
def test_an_object_left_out_where_others_of_its_brightness_are_too_dim_is_found(electrons: float) -> None:
    """What all places of one brightness are off by is taken out; here the place itself is right but for the object."""
    right, camera = np.full(SHAPE, 100, np.float32), measured_camera(worm(11), pattern=None)
    right[:, :, 32:] += 9 * GAIN
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    is_near = (rows - PLACE[1]) ** 2 + (columns - PLACE[2]) ** 2 < 14**2
    shown = np.where(is_near, right, 100 + 0.955 * (right - 100)).astype(np.float32)
    found_of = {}
    for added in (electrons, 0.0):
        left, _ = levels.levelled(residual.residual_of(noise_of(right + nucleus(PLACE, added)), shown, camera))
        found_of[added] = examined(left, camera, 25 * GAIN, interval_of(2.64 * GAIN)).doubts
    assert [doubt.kind for doubt in found_of[electrons]] == ["missing"]
    assert np.abs(np.subtract(found_of[electrons][0].place_px, PLACE)).max() <= 4
    assert not found_of[0.0]
