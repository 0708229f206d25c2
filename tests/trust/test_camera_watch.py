"""A camera file of another camera or mode is named in every volume of a run, and is not used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from care_live.simulate import noise
from care_live.trust.camera import CameraModel
from care_live.trust.camera_watch import LEARN_VOLUMES, CameraWatch
from care_live.trust.examiner import Examiner
from care_live.trust.photon_transfer import camera_from_frames
from care_live.trust.seen_noise import noise_points
from tests.trust.photons import CARD, GAIN, OFFSET, measured_camera, noise_of, restored_of, worm

N_VOLUMES = 5
Change = Callable[[CameraModel], CameraModel]
OTHERS: dict[str, tuple[Change, str]] = {
    "gain-x2": (lambda camera: replace(camera, gain=2 * camera.gain), "counts per photo-electron"),
    "gain-x0.5": (lambda camera: replace(camera, gain=camera.gain / 2), "counts per photo-electron"),
    "gain-x1.5": (lambda camera: replace(camera, gain=1.5 * camera.gain), "counts per photo-electron"),
    "gain-x0.67": (lambda camera: replace(camera, gain=camera.gain / 1.5), "counts per photo-electron"),
    "offset+20": (lambda camera: replace(camera, offset=camera.offset + 20), "counts without light"),
    "offset-20": (lambda camera: replace(camera, offset=camera.offset - 20), "a noise of"),
    "read-noise-x2": (lambda camera: replace(camera, read_noise=2 * camera.read_noise), "a noise of"),
}


@cache
def volumes() -> tuple[tuple[Any, Any], ...]:
    """One worm, exposed again and again by one camera: raw and expected counts."""
    scene = worm(11)
    electrons = ((scene.truth - OFFSET) / GAIN).clip(0).astype(np.float32)
    return tuple(
        (
            np.stack([scene.sensor.expose(plane, noise.generator(t, z)) for z, plane in enumerate(electrons)]),
            scene.truth,
        )
        for t in range(N_VOLUMES)
    )


@pytest.mark.parametrize("name", OTHERS)
def test_the_file_of_another_camera_is_amber_in_every_volume(name: str) -> None:
    changed, says = OTHERS[name]
    examiner = Examiner(CARD, changed(measured_camera(worm(11))))
    trusts = [examiner.examine(restored_of(raw, truth)) for raw, truth in volumes()]
    assert [trust.colour for trust in trusts] == ["amber"] * N_VOLUMES
    for trust in trusts:
        assert trust.is_out_of_domain and "care-live camera" in trust.reasons[0] and says in trust.reasons[0]
        assert "of this run" in trust.camera, "the file is not used"


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_the_right_file_is_used_and_named(factor: float) -> None:
    camera = measured_camera(worm(11))
    examiner = Examiner(CARD, replace(camera, gain=factor * camera.gain))
    for raw, truth in volumes():
        trust = examiner.examine(restored_of(raw, truth))
        assert not any("camera" in reason for reason in trust.reasons), trust
        assert "a test" in trust.camera


def test_a_camera_that_changes_its_mode_in_a_run_is_found_and_forgiven_where_it_changes_back() -> None:
    raw, truth = volumes()[0]
    watch = CameraWatch(measured_camera(worm(11)))
    for _ in range(LEARN_VOLUMES):
        watch.look(raw, truth)
    assert watch.against == ()
    louder = (OFFSET + 2 * (raw.astype(np.float32) - OFFSET)).clip(0).astype(np.uint16)
    for _ in range(4 * LEARN_VOLUMES):
        watch.look(louder, OFFSET + 2 * (truth - OFFSET))
    assert watch.against and watch.camera is not None and watch.camera.gain > 1.5 * GAIN
    for _ in range(4 * LEARN_VOLUMES):
        watch.look(raw, truth)
    assert watch.against == ()


def test_saturated_places_do_not_hide_the_gain() -> None:
    raw, truth = np.array(volumes()[0][0]), volumes()[0][1]
    raw[4:8, 30:60, 30:60] = 4095
    watch = CameraWatch(measured_camera(worm(11)))
    watch.look(raw, truth)
    assert watch.against == ()
    points = noise_points(raw, truth)
    assert points is not None and points.level.max() < 1000


def test_too_little_light_accuses_no_file() -> None:
    scene = worm(11)
    dark = np.stack(
        [scene.sensor.expose(np.zeros(scene.raw.shape[1:], np.float32), noise.generator(9, z)) for z in range(16)]
    )
    watch = CameraWatch(replace(measured_camera(scene), gain=1.5 * GAIN))
    watch.look(dark, np.full(dark.shape, OFFSET, np.float32))
    assert not any("photo-electron" in why for why in watch.against)
    assert watch.against, "of the dark, the file says too much noise"
    assert watch.camera is None or "of this run" in watch.camera.origin, "and is not used"


def test_fine_structures_that_are_projected_accuse_no_file() -> None:
    """One plane for all is no prediction of each: the difference of two raw planes is all that is left."""
    spots = (np.random.default_rng(0).random((16, 96, 96)) > 0.99).astype(np.float32)
    electrons = 60 * ndimage.gaussian_filter(spots, (0.4, 0.5, 0.5)) / ndimage.gaussian_filter(spots, 0.5).max()
    clean = (OFFSET + GAIN * electrons).astype(np.float32)
    examiner = Examiner(CARD.model_copy(update={"task": "project"}), CameraModel(GAIN, OFFSET, 1.75, "a test"))
    trust = examiner.examine(restored_of(noise_of(clean), clean.max(axis=0, keepdims=True)))
    assert not any("camera file" in reason for reason in trust.reasons), trust
    assert "a test" in trust.camera


@pytest.mark.parametrize("level", [0, OFFSET], ids=["empty", "clipped"])
def test_places_without_noise_accuse_no_file(level: float) -> None:
    """A specimen's background that is clipped, or a shutter that is shut."""
    raw, truth = (np.array(image) for image in volumes()[0])
    watch = CameraWatch(measured_camera(worm(11)))
    for rows in (64, 128):
        raw[:, :rows], truth[:, :rows] = level, level
        watch.look(raw, truth)
        assert watch.against == ()


def test_a_prediction_that_is_no_number_says_nothing_of_the_camera() -> None:
    raw, truth = volumes()[0]
    broken = np.array(truth)
    broken[:, 40:60] = np.nan
    watch = CameraWatch(OTHERS["gain-x2"][0](measured_camera(worm(11))))
    watch.look(raw, truth)
    said = watch.against
    watch.look(raw, broken)
    assert said
    assert watch.against == said


def test_the_file_of_a_camera_with_noisy_pixels_is_of_this_camera() -> None:
    scene, rng = worm(11), np.random.default_rng(4)
    read_noise = np.where(rng.random(scene.sensor.read_noise.shape) < 0.01, 8, 1) * scene.sensor.read_noise
    sensor = replace(scene.sensor, read_noise=read_noise.astype(np.float32))

    def exposed(electrons: np.ndarray, seed: int) -> np.ndarray:
        return np.stack([sensor.expose(plane, noise.generator(seed, z)) for z, plane in enumerate(electrons)])

    dark, flat = (np.full((40, *read_noise.shape), light, np.float32) for light in (0, 300))
    watch = CameraWatch(camera_from_frames(exposed(dark, 1), exposed(flat, 2), "a test"))
    watch.look(exposed(((scene.truth - OFFSET) / GAIN).clip(0).astype(np.float32), 3), scene.truth)
    assert watch.against == ()


def test_fine_structures_of_a_single_plane_are_no_other_gain() -> None:
    smooth = worm(11).truth[8:9]
    light = (smooth - OFFSET) * (1 + 0.5 * np.random.default_rng(5).standard_normal(smooth.shape))
    raw, right = noise_of((OFFSET + light).astype(np.float32)), measured_camera(worm(11), pattern=None)
    for camera, says in ((right, ()), (replace(right, gain=2 * GAIN), "a noise of")):
        watch = CameraWatch(camera)
        watch.look(raw, smooth)
        assert watch.against == () if not says else says in watch.against[0]
