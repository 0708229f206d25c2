"""The noise that a run shows: its gain by raw planes and residual together, and in what a camera file differs."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from care_live.trust.camera import CameraModel
from care_live.trust.seen_noise import NoisePoints, SeenNoise, differences, kept_share, noise_in, noise_points
from tests.trust.photons import GAIN, OFFSET, READ_NOISE, noise_of, worm

SHAPE = (6, 128, 128)
DARK = (GAIN * READ_NOISE) ** 2
FILE = CameraModel(GAIN, OFFSET, READ_NOISE, "a test")
SEEN = SeenNoise(
    gain=GAIN,
    error=0.01,
    least=GAIN,
    most=GAIN,
    dark_level=OFFSET,
    dark_least=DARK,
    dark_most=DARK,
    has_offsets=False,
)


@cache
def ramp() -> np.ndarray:
    """Expected counts from dark to bright, the same in each plane."""
    level = OFFSET + 400 * np.linspace(0, 1, SHAPE[2], dtype=np.float32) ** 2
    return np.broadcast_to(level, SHAPE).copy()


def seen_by(follows: float) -> SeenNoise:
    """Return what is seen where a network lets this share of the noise through."""
    raw = noise_of(ramp())
    points = noise_points(raw, ramp() + np.float32(follows) * (raw - ramp()))
    assert points is not None
    return noise_in([points])


@pytest.mark.parametrize("follows", [0.0, 0.1, 0.5])
def test_the_gain_is_found_though_the_network_follows_the_noise(follows: float) -> None:
    seen = seen_by(follows)
    assert seen.gain == pytest.approx(GAIN, rel=0.1) and seen.error < 0.1 * GAIN
    assert seen.least == pytest.approx((1 - follows) ** 2 * seen.gain, rel=0.1)
    assert seen.most == pytest.approx(seen.gain, rel=0.1)
    assert seen.dark_level == pytest.approx(OFFSET, abs=30) and not seen.has_offsets


def test_a_network_that_copies_its_raw_planes_leaves_the_raw_noise() -> None:
    seen = seen_by(1.0)
    assert seen.gain == pytest.approx(seen.most) and seen.least == pytest.approx(0, abs=0.05 * GAIN)


def test_several_volumes_say_it_more_surely_than_one() -> None:
    points = [noise_points(noise_of(ramp(), seed), ramp()) for seed in range(4)]
    known = [one for one in points if one is not None]
    assert len(known) == 4
    assert noise_in(known).error < 0.75 * noise_in(known[:1]).error


def test_without_light_the_gain_is_not_known() -> None:
    flat = np.full(SHAPE, OFFSET, np.float32)
    points = noise_points(noise_of(flat), flat)
    assert points is not None and math.isnan(noise_in([points]).gain)


def test_saturated_blocks_are_left_out() -> None:
    """Of a camera of 10 bits: at its largest count there is no noise, whatever the light."""
    level = OFFSET + 1500 * (ramp() - OFFSET) / 400
    raw = noise_of(level)
    points, whole = noise_points(np.minimum(raw, 1023), level), noise_points(raw, level)
    assert points is not None and whole is not None
    assert points.level.max() < 1023 < whole.level.max()
    assert noise_in([points]).gain == pytest.approx(GAIN, rel=0.15)


@pytest.mark.parametrize(("shape", "there"), [((6, 23, 128), False), ((6, 32, 32), True), ((1, 64, 64), True)])
def test_tiny_frames_say_nothing_and_a_single_plane_has_the_offsets_in_it(
    shape: tuple[int, int, int], there: bool
) -> None:
    level = np.broadcast_to(np.linspace(OFFSET, 4 * OFFSET, shape[2], dtype=np.float32), shape).copy()
    points = noise_points(noise_of(level), level)
    assert (points is not None) == there
    if points is not None:
        assert points.is_single == (shape[0] == 1) == noise_in([points]).has_offsets


def test_points_are_sorted_by_brightness_and_count_their_pixels() -> None:
    points = noise_points(noise_of(ramp()), ramp())
    assert isinstance(points, NoisePoints)
    assert (np.diff(points.level) > 0).all() and points.n_px.sum() <= np.prod(SHAPE)


# -- a camera file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"gain": 1.3 * GAIN, "least": 1.3 * GAIN}, "counts per photo-electron"),
        ({"gain": 1.3 * GAIN, "least": 1.0 * GAIN}, ""),  # fine structures alone may add to the raw noise
        ({"gain": 0.7 * GAIN, "most": 0.7 * GAIN}, "counts per photo-electron"),
        ({"gain": 0.7 * GAIN, "most": 1.1 * GAIN}, ""),
        ({"gain": 1.3 * GAIN, "least": 1.3 * GAIN, "error": 0.1 * GAIN}, ""),  # not surely more
        ({"gain": math.nan}, ""),
        ({"dark_level": OFFSET - 20}, "counts without light"),
        ({"dark_least": 2 * DARK, "dark_most": 2 * DARK}, "a noise of"),
        ({"dark_least": 0.5 * DARK, "dark_most": 0.5 * DARK}, "a noise of"),
        ({"dark_least": 0.5 * DARK, "dark_most": 1.2 * DARK}, ""),
        ({"dark_least": 0.0, "dark_most": 0.0, "gain": 9 * GAIN, "least": 9 * GAIN}, ""),  # clipped
    ],
)
def test_a_file_is_contradicted_only_where_both_bounds_do(change: dict[str, float], says: str) -> None:
    said = differences(FILE, SEEN._replace(**change))
    assert bool(said) == bool(says)
    if says:
        assert says in said[0] and "care-live camera" in said[0]


def test_two_differences_are_said_in_one_sentence() -> None:
    seen = SEEN._replace(gain=2 * GAIN, least=2 * GAIN, dark_level=OFFSET - 20)
    (said,) = differences(FILE, seen)
    assert "counts per photo-electron" in said and "counts without light" in said


def test_a_few_very_noisy_pixels_need_not_be_in_the_dark_blocks_that_are_seen() -> None:
    noise = np.full((64, 64), DARK, np.float32)
    noise[::16, ::16] = 200 * DARK
    given = replace(FILE, dark_noise=noise)
    assert float(noise.mean()) > 1.5 * DARK
    assert not differences(given, SEEN)
    assert not differences(given, SEEN._replace(dark_least=1.5 * DARK, dark_most=1.5 * DARK))


def test_the_pixels_offsets_are_noise_in_single_planes_only() -> None:
    pattern = np.random.default_rng(0).normal(0, 2 * math.sqrt(DARK), (64, 64)).astype(np.float32)
    given = replace(FILE, pattern=pattern)
    more = SEEN._replace(dark_least=4 * DARK, dark_most=4 * DARK)
    assert differences(given, more)
    assert not differences(given, more._replace(has_offsets=True))


@pytest.mark.parametrize("n_planes", [1, 12])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_share_of_the_noise_that_a_restoration_keeps_is_measured(share: float, n_planes: int) -> None:
    scene = worm(11)
    raw, truth = scene.raw[:n_planes], scene.truth[:n_planes]
    assert kept_share(raw, np.asarray((1 - share) * truth + share * raw, np.float32)) == pytest.approx(share, abs=0.06)


def test_a_restoration_that_smooths_fine_structures_away_keeps_no_noise() -> None:
    scene = worm(11)
    assert kept_share(scene.raw, np.zeros_like(scene.truth)) < 0.1
    assert kept_share(scene.raw[:, :16, :16], scene.truth[:, :16, :16]) == 0
