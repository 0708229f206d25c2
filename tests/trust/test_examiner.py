"""The verdict on volumes as they come: green for what is right, red where something is false, amber with reasons."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.images import Integrity
from care_live.model.card import TrainingDomain
from care_live.simulate import noise
from care_live.trust.examiner import Examiner
from tests.trust.photons import CARD, SHAPE, measured_camera, noise_of, nucleus, restored_of, worm

PLACE = (8.0, 40.0, 90.0)


def again(n: int) -> np.ndarray:
    """Expose the same worm with the same sensor once more."""
    scene = worm(11)
    electrons = ((scene.truth - 100) / 2.17 - scene.sensor.dark_electrons).astype(np.float32).clip(0)
    return np.stack([scene.sensor.expose(plane, noise.generator(77, n, z)) for z, plane in enumerate(electrons)])


def test_a_right_restoration_is_green_with_a_camera_that_it_estimates() -> None:
    examiner = Examiner(CARD)
    trusts = [examiner.examine(restored_of(again(n), worm(11).truth)) for n in range(4)]
    assert [trust.colour for trust in trusts] == ["green"] * 4, trusts[-1]
    assert "estimated from 4 volumes" in trusts[-1].camera
    assert trusts[-1].sd == pytest.approx((1, 1, 1), abs=0.25)


def test_the_pattern_learnt_from_a_run_sharpens_the_test() -> None:
    examiner, scene = Examiner(CARD), worm(11)
    for n in range(6):
        examiner.examine(restored_of(again(n), scene.truth))
    wrong = restored_of(again(6), scene.truth + nucleus(PLACE, 3.5))
    with_pattern, without = examiner.examine(wrong), Examiner(CARD).examine(wrong)
    assert with_pattern.doubts
    assert not without.doubts or with_pattern.doubts[0].sigmas > without.doubts[0].sigmas


@pytest.mark.parametrize(("electrons", "says"), [(5, "did not count"), (-5, "lacks something")])
def test_a_false_and_a_missing_nucleus_turn_the_light_red(electrons: float, says: str) -> None:
    scene = worm(11)
    trust = Examiner(CARD, measured_camera(scene)).examine(
        restored_of(scene.raw, scene.truth + nucleus(PLACE, electrons))
    )
    assert trust.colour == "red"
    assert says in trust.reasons[0]
    assert np.abs(np.subtract(trust.doubts[0].place_px, PLACE)).max() <= 4
    assert "a test" in trust.camera


def test_a_volume_that_cannot_be_compared_is_amber_and_says_why() -> None:
    grey = np.full((4, 64, 64), 500, np.uint16)
    trust = Examiner(CARD).examine(restored_of(grey, grey))
    assert (trust.colour, trust.sd) == ("amber", ())
    assert "can't be measured" in trust.reasons[0]
    normalised = CARD.model_copy(update={"output": "normalised"})
    assert "camera counts" in Examiner(normalised).examine(restored_of(worm(11).raw, worm(11).truth)).reasons[0]


def test_without_a_camera_file_the_look_at_planes_of_live_goes_on_until_they_show_the_camera() -> None:
    """Live with a closed shutter, whose frames a driver gives without noise, says nothing; then there is light."""
    examiner, scene = Examiner(CARD), worm(11)
    grey = np.full((1, *SHAPE[1:]), 100, np.uint16)
    for _ in range(20):
        assert "can't be measured" in examiner.examine(restored_of(grey, grey)).reasons[0]
    trusts = [examiner.examine(restored_of(again(n)[8:9], scene.truth[8:9])) for n in range(20)]
    cameras = [trust.camera for trust in trusts]
    assert not cameras[0] or "of this run" in cameras[0]
    assert all("of this run" in camera for camera in cameras[8:]), cameras
    assert all(trust.sd for trust in trusts[8:])
    assert not any(trust.doubts for trust in trusts[8:]), trusts[-1]


def test_a_foreign_specimen_is_flagged_with_its_reason() -> None:
    scene = worm(11)
    trust = Examiner(CARD).examine(restored_of(scene.raw, scene.truth, raw_voxel_um=(1.0, 0.13, 0.13)))
    assert trust.is_out_of_domain
    assert trust.colour == "amber"
    assert trust.reasons == ("voxels are 0.13 um, the network was trained at 0.5 um",)


def test_too_little_light_is_said_in_photons() -> None:
    scene = worm(11)
    card = CARD.model_copy(update={"training": TrainingDomain(signal_electrons=(100, 200))})
    trust = Examiner(card, measured_camera(scene)).examine(restored_of(scene.raw, scene.truth))
    assert trust.is_out_of_domain
    assert "photo-electrons" in trust.reasons[0]


def test_the_file_of_another_camera_is_amber_and_says_so() -> None:
    scene = worm(11)
    wrong = measured_camera(scene, gain=2.17 / 2.5)
    trust = Examiner(CARD, wrong).examine(restored_of(scene.raw, scene.truth))
    assert trust.colour == "amber", trust
    assert "file of another camera" in trust.reasons[0]


def test_little_light_is_no_other_camera() -> None:
    scene = worm(11)
    dim = 100 + (scene.truth - 100) * 0.2
    trust = Examiner(CARD, measured_camera(scene, pattern=None)).examine(restored_of(noise_of(dim), dim))
    assert not any("another camera" in reason for reason in trust.reasons), trust


def test_saturation_is_said_with_its_share() -> None:
    scene = worm(11)
    raw, truth = scene.raw.copy(), scene.truth.copy()
    raw[4:8, 30:60, 30:60], truth[4:8, 30:60, 30:60] = 4095, 4500
    trust = Examiner(CARD, measured_camera(scene)).examine(restored_of(raw, truth))
    assert trust.is_out_of_domain
    assert any("1.4% of the voxels are saturated" in reason for reason in trust.reasons)


def test_missing_planes_are_amber_not_red() -> None:
    scene, planes = worm(11), tuple(range(SHAPE[0]))
    raw = scene.raw.copy()
    raw[5] = 0
    trust = Examiner(CARD, measured_camera(scene)).examine(
        restored_of(raw, scene.truth, integrity=Integrity(planes, tuple(z for z in planes if z != 5)),
                    flags=frozenset({"missing_plane"}))
    )  # fmt: skip
    assert (trust.colour, len(trust.reasons)) == ("amber", 1)


@pytest.mark.parametrize("n_missing", [4, 8, 12])
def test_many_missing_planes_are_amber_not_red(n_missing: int) -> None:
    scene, planes = worm(11), tuple(range(SHAPE[0]))
    raw = scene.raw.copy()
    raw[SHAPE[0] - n_missing :] = 0
    came = Integrity(planes, planes[: SHAPE[0] - n_missing])
    trust = Examiner(CARD, measured_camera(scene)).examine(
        restored_of(raw, scene.truth, integrity=came, flags=frozenset({"missing_plane"}))
    )
    assert trust.colour == "amber" and not trust.doubts, trust
    assert not any("dark places" in reason for reason in trust.reasons)


def test_upsampled_planes_are_compared_at_the_places_of_raw_ones() -> None:
    scene = worm(11)
    card = CARD.model_copy(update={"task": "upsample", "factor": 2.0})
    raw, camera = noise_of(scene.truth[::2]), measured_camera(scene, pattern=None)
    fine = scene.truth[: 2 * len(raw) - 1]
    assert Examiner(card, camera).examine(restored_of(raw, fine)).colour == "green"
    wrong = fine + nucleus((8.0, 40.0, 90.0), 6, fine.shape)
    (doubt,) = Examiner(card, camera).examine(restored_of(raw, wrong)).doubts
    assert abs(doubt.place_px[0] - 8) <= 2


def test_a_deblurred_volume_is_blurred_again_before_it_is_compared() -> None:
    from care_live.trust.smooth import smooth

    sharp = np.full(SHAPE, 100, np.float32)
    rng = np.random.default_rng(3)
    for place in rng.uniform((3, 10, 10), (13, 118, 118), (25, 3)):
        sharp += nucleus(tuple(place), 40)
    card = CARD.model_copy(update={"task": "deconvolve"})
    raw, camera = noise_of(smooth(sharp, (0.0, 2.0, 2.0))), measured_camera(worm(11), pattern=None)
    assert Examiner(card, camera).examine(restored_of(raw, sharp * 2 - 100)).colour == "green"
    assert Examiner(CARD, camera).examine(restored_of(raw, sharp)).colour == "red", "without its forward model"
    assert Examiner(card, camera).examine(restored_of(raw, sharp * 2 - 100 + nucleus(PLACE, 60))).colour == "red"


@pytest.mark.parametrize(
    ("surface_counts", "around_counts", "electrons"),
    [(100, 103, 20), (180, 110, 40)],
    ids=["dark", "bright"],  # all raw planes but one are much darker than a bright surface: no error of its level
)
def test_a_projection_is_judged_by_the_nearest_plane(surface_counts: int, around_counts: int, electrons: int) -> None:
    card = CARD.model_copy(update={"task": "project"})
    surface = np.full(SHAPE[1:], surface_counts, np.float32) + nucleus((0.0, 60.0, 60.0), 20, (1, *SHAPE[1:]))[0]
    stack = np.full(SHAPE, around_counts, np.float32)
    stack[6] = surface
    raw, camera = noise_of(stack), measured_camera(worm(11), pattern=None)
    assert Examiner(card, camera).examine(restored_of(raw, surface[None])).colour == "green"
    invented = surface[None] + nucleus((0.0, 20.0, 20.0), electrons, (1, *SHAPE[1:]))
    assert Examiner(card, camera).examine(restored_of(raw, invented)).doubts[0].kind == "invented"


@pytest.mark.parametrize(("share", "colour"), [(0.0, "green"), (0.6, "amber"), (1.0, "amber")])
def test_a_restoration_that_keeps_the_noise_is_amber_and_says_so(share: float, colour: str) -> None:
    scene = worm(11)
    copied = (1 - share) * scene.truth + share * scene.raw
    trust = Examiner(CARD, measured_camera(scene)).examine(restored_of(scene.raw, copied))
    assert trust.colour == colour, trust
    assert any("keeps the camera's noise" in reason for reason in trust.reasons) == (colour == "amber")


@pytest.mark.parametrize("n_planes", [1, 16])
def test_a_restoration_that_is_zero_everywhere_lacks_what_was_counted(n_planes: int) -> None:
    scene = worm(11)
    raw = scene.raw[8 : 8 + n_planes] if n_planes < SHAPE[0] else scene.raw
    trust = Examiner(CARD, measured_camera(scene)).examine(restored_of(raw, np.zeros(raw.shape, np.float32)))
    assert trust.colour == "red" and "lacks something" in trust.reasons[0], trust
    assert any("dark places were counted 10" in reason for reason in trust.reasons)
    assert not any("keeps the camera's noise" in reason for reason in trust.reasons)


def test_a_network_that_keeps_the_noise_is_said_to_do_so_in_every_volume() -> None:
    """Half of the noise is left over: it is not taken for the camera's, by which all would be more than noise."""
    examiner = Examiner(CARD, measured_camera(worm(11)))
    for n in range(4):
        trust = examiner.examine(restored_of(again(n), 0.5 * again(n) + 0.5 * worm(11).truth))
        assert trust.colour == "amber" and "keeps the camera's noise" in trust.reasons[0], (n, trust)


@pytest.mark.parametrize("has_file", [False, True], ids=["no camera file", "camera file"])
@pytest.mark.parametrize("n_good", [0, 8])
def test_noise_that_is_kept_from_some_volume_on_is_said(n_good: int, *, has_file: bool) -> None:
    """The pattern that earlier volumes showed is left over as before, and hid that half of the noise is not."""
    examiner = Examiner(CARD, measured_camera(worm(11)) if has_file else None)
    for n in range(n_good):
        assert examiner.examine(restored_of(again(n), worm(11).truth)).colour == "green"
    trust = examiner.examine(restored_of(again(8), 0.5 * again(8) + 0.5 * worm(11).truth))
    assert trust.colour == "amber" and "keeps the camera's noise" in trust.reasons[0], trust


@pytest.mark.parametrize("has_file", [False, True], ids=["no camera file", "camera file"])
def test_a_level_that_is_off_is_no_kept_noise(*, has_file: bool) -> None:
    """By twice the noise: what is left of each pixel is larger than its noise then, and is not taken for it."""
    examiner = Examiner(CARD, measured_camera(worm(11)) if has_file else None)
    for n in range(2):
        trust = examiner.examine(restored_of(again(n), worm(11).truth - 8))
        assert trust.colour == "amber" and trust.sd == pytest.approx((1, 1, 1), abs=0.25), trust
        assert [reason[:18] for reason in trust.reasons] == ["dark places were c"], trust
