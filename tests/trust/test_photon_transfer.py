"""Photon transfer: the camera comes out of its frames, within what its noise allows."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.errors import ConfigError
from care_live.simulate import noise, sensor
from care_live.trust.photon_transfer import camera_from_frames, camera_of, transfer_points
from tests.trust.photons import worm


def test_dark_and_flat_frames_show_gain_offset_read_noise_and_pattern() -> None:
    camera = sensor((128, 128), 3)
    dark, flat = (
        np.stack([camera.expose(np.full((128, 128), e, np.float32), noise.generator(7, int(e), n)) for n in range(60)])
        for e in (0.0, 200.0)
    )
    found = camera_from_frames(dark, flat, "frames")
    assert found.gain == pytest.approx(2.17, rel=0.03)
    assert found.offset == pytest.approx(100.3, abs=0.2)
    assert found.read_noise == pytest.approx(float(np.sqrt(np.mean(camera.read_noise**2) + 0.15)), rel=0.05)
    assert found.pattern is not None
    usable = np.isfinite(found.pattern)
    assert np.corrcoef(found.pattern[usable], camera.offset[usable])[0, 1] > 0.9
    assert 0 < (~usable).mean() < 0.01, "pixels of much read noise are left out"
    assert camera.read_noise[~usable].min() > 1.6 * 1.5


@pytest.mark.parametrize(
    ("dark", "flat", "says"),
    [
        (np.full((1, 8, 8), 100), np.full((2, 8, 8), 200), "1 dark frame"),
        (np.full((2, 8, 8), 100), np.full((2, 8, 9), 200), "must be alike"),
        (np.full((2, 8, 8), 100), np.full((2, 8, 8), 90), "need light"),
    ],
)
def test_frames_that_cannot_show_it_are_refused(dark: np.ndarray, flat: np.ndarray, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        camera_from_frames(dark, flat, "frames")


def test_a_run_shows_its_own_camera() -> None:
    points = tuple(point for seed in (21, 22, 23) for point in transfer_points(worm(seed).raw))
    found = camera_of(points, "run")
    assert found is not None
    assert found.gain == pytest.approx(2.17, rel=0.2)
    assert found.offset == pytest.approx(99.8, abs=2)
    level = 100 + 2.17 * 10
    assert found.variance(np.float32([level]))[0] == pytest.approx(2.17**2 * (10 + 1.75**2), rel=0.15)
    assert found.pattern_sd == pytest.approx(1.5, rel=0.25)


def test_an_even_grey_shows_no_gain() -> None:
    flat = np.full((4, 64, 64), 500, np.uint16)
    assert camera_of(transfer_points(flat), "run") is None
    assert transfer_points(np.zeros((3, 10, 10), np.uint16)) == ()
