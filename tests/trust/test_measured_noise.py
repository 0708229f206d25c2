"""What noise is like, as measured on images: its neighbours, and a pattern that stays from plane to plane."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.trust.measured_noise import (
    FARTHEST_PX,
    NoiseCorrelation,
    are_equally_bright,
    camera_of_images,
    correlation_of,
    correlation_of_repeats,
    pattern_like,
    pattern_sd_of,
)
from tests.training.conftest import blobs

PATTERN_SD = 4.0


def white(seed: int, shape: tuple[int, ...] = (1, 6, 160, 160), sd: float = 10.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, sd, shape).astype(np.float32)


def exposed(seed: int, shape: tuple[int, ...], *, of_blobs: int = 0) -> np.ndarray:
    """Photon noise of spots, gain 2, read noise of 5 counts and a pattern that belongs to the camera."""
    light = blobs(of_blobs, shape[1:])[None] / 20
    noise = np.random.default_rng(seed)
    counts = 100 + 2 * noise.poisson(light) + noise.normal(0, 5, shape)
    return np.asarray(counts + pattern_like(shape, PATTERN_SD, np.random.default_rng(77)), np.float32)


def test_white_noise_is_alike_nowhere() -> None:
    found = correlation_of([white(0)])
    assert found.reach_px == (0, 0)
    assert found.is_white
    assert not found.is_fixed
    assert len(found.along_z) == FARTHEST_PX


def test_rows_that_are_alike_are_found_along_x() -> None:
    rows = white(0) + 20 * np.repeat(np.random.default_rng(1).normal(0, 1, (1, 6, 160, 54)), 3, axis=-1)[..., :160]
    along_y, along_x = correlation_of([rows.astype(np.float32)]).reach_px
    assert along_y == 0
    assert along_x >= 1


def test_a_pattern_is_alike_in_all_planes() -> None:
    shape = (1, 6, 160, 160)
    assert correlation_of([white(0) + pattern_like(shape, PATTERN_SD, np.random.default_rng(2))]).is_fixed
    flat = correlation_of([white(0, (1, 96, 96))])
    assert flat.along_z == ()
    assert not flat.is_fixed


def test_stacks_of_unequal_depth_are_compared_as_far_as_all_reach() -> None:
    depths = [correlation_of([white(0), white(1, (1, n_z, 160, 160))]) for n_z in (3, 1)]
    assert [len(found.along_z) for found in depths] == [2, 0]
    assert all(len(found.along_y) == FARTHEST_PX for found in depths)


def test_exposures_of_a_specimen_that_moved_are_not_alike_but_for_noise() -> None:
    first, second = exposed(1, (1, 128, 128)), exposed(2, (1, 128, 128))
    assert correlation_of_repeats([[first, second]]).is_white
    moved = np.roll(40 * blobs(0, (128, 128)), 2, axis=-1)[None]
    assert not correlation_of_repeats([[first, second + moved]]).is_white


def test_what_planes_of_a_stack_have_in_common_is_the_pattern() -> None:
    assert pattern_sd_of([exposed(1, (1, 8, 160, 160))]) == pytest.approx((PATTERN_SD,), rel=0.25)
    assert pattern_sd_of([exposed(1, (1, 256, 256))]) == ()  # a plane that is alone


def test_the_camera_of_a_stack_knows_its_pattern_apart_from_its_noise() -> None:
    camera = camera_of_images([exposed(1, (1, 12, 160, 160))])
    assert camera is not None
    assert camera.pattern_sd == pytest.approx(PATTERN_SD, rel=0.25)
    assert camera.gain * camera.read_noise == pytest.approx(5, rel=0.3)


def test_channels_of_other_cameras_have_no_camera_together() -> None:
    first, second = (exposed(seed, (1, 12, 160, 160)) for seed in (1, 2))
    assert camera_of_images([np.concatenate([first, second])]) is not None
    assert camera_of_images([np.concatenate([first, 1.5 * second])]) is None


def test_each_channel_is_measured() -> None:
    first, second = (exposed(seed, (1, 8, 160, 160)) for seed in (1, 2))
    alike = np.concatenate([white(0), white(1) + np.roll(white(1), 1, axis=-1)])
    strengths = pattern_sd_of([np.concatenate([first, 3 * second])])
    assert strengths == pytest.approx((PATTERN_SD, 3 * PATTERN_SD), rel=0.25)
    assert not correlation_of([alike]).is_white
    assert not correlation_of_repeats([[alike, np.zeros_like(alike)]]).is_white
    assert are_equally_bright([[np.concatenate([first, second])] * 2])
    assert not are_equally_bright([[np.concatenate([first, second]), np.concatenate([first, 0.8 * second])]])


def test_no_camera_is_made_up_for_images_that_are_no_whole_counts() -> None:
    """Rounding to whole counts would be most of its noise."""
    counts = 200 * exposed(1, (1, 12, 160, 160))
    assert camera_of_images([counts]) is not None
    assert camera_of_images([counts / np.float32(65535)]) is None


def test_images_without_light_tell_nothing() -> None:
    assert pattern_sd_of([white(0, (1, 6, 16, 16))]) == (0,)  # too small for blocks
    assert camera_of_images([np.full((1, 4, 64, 64), 7, np.uint16)]) is None


def test_the_correlation_is_shown_as_bars() -> None:
    shown = NoiseCorrelation((0.9, 0.4, 0.1, -0.02), (0.0, 0.0, 0.0, 0.0)).describe()
    assert "y \u2588\u2584\u2581\u2581 0.90, 0.40, 0.10, -0.02" in shown
    assert shown.startswith("The noise of neighbours is alike by (1 to 4 px or planes apart): y ")
    assert "; z" not in shown
