"""The offsets of a camera's pixels pass for no error of a restoration, whether a network restores them or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from care_live.simulate import noise
from care_live.trust.camera import CameraModel
from care_live.trust.examiner import Examiner
from care_live.trust.pattern import narrow, without_wide
from care_live.trust.smooth import smooth
from tests.trust.photons import CARD, GAIN, OFFSET, nucleus, restored_of, worm

SHAPE = (32, 128, 128)
PLACE = (12.0, 40.0, 90.0)
WIDE_PX = (0.0, 2.0, 2.0)


def offsets(seed: int) -> np.ndarray:
    """Return what the pixels of a camera are off by, counts: most of it from pixel to pixel, some of it smooth."""
    rng = np.random.default_rng(seed)
    fine, wide = (rng.standard_normal((1, *SHAPE[1:]), dtype=np.float32) for _ in range(2))
    return fine[0] + smooth(wide, WIDE_PX)[0] * np.float32(6)


def counted(seed: int) -> np.ndarray:
    scene = worm(11, SHAPE)
    pixels = np.full(SHAPE[1:], OFFSET, np.float32) + offsets(0)
    camera = replace(scene.sensor, offset=pixels)
    light = ((scene.truth - OFFSET) / GAIN).clip(0).astype(np.float32)
    return np.stack([camera.expose(plane, noise.generator(seed, 3, z)) for z, plane in enumerate(light)])


def camera_file() -> CameraModel:
    return CameraModel(GAIN, OFFSET, 1.75, "a test", pattern=offsets(0))


@pytest.mark.parametrize("is_restored", [False, True], ids=["left out", "restored as light"])
@pytest.mark.parametrize("has_file", [False, True], ids=["no camera file", "camera file"])
def test_smooth_offsets_are_no_structures(*, is_restored: bool, has_file: bool) -> None:
    examiner = Examiner(CARD, camera_file() if has_file else None)
    shown = worm(11, SHAPE).truth + (smooth(offsets(0)[np.newaxis], WIDE_PX) if is_restored else 0)
    trusts = [examiner.examine(restored_of(counted(seed), shown)) for seed in range(2)]
    assert [trust.colour for trust in trusts] == ["green", "green"], trusts
    false = shown + nucleus(PLACE, 5, SHAPE)
    (doubt,) = Examiner(CARD, camera_file() if has_file else None).examine(restored_of(counted(0), false)).doubts
    assert np.abs(np.subtract(doubt.place_px, PLACE)).max() <= 4


def test_a_structure_of_a_few_planes_is_no_pattern() -> None:
    """One network makes up the same bright place in every volume: it stays a structure."""
    examiner = Examiner(CARD)
    false = worm(11, SHAPE).truth + nucleus(PLACE, 4, SHAPE)
    for seed in range(4):
        trust = examiner.examine(restored_of(counted(seed), false))
        assert trust.colour == "red", (seed, trust)


def quarter(counts: float) -> np.ndarray:
    """Return an error of a quarter of the field."""
    plane = np.zeros(SHAPE[1:], np.float32)
    plane[:64, :64] = counts
    return plane


@pytest.mark.parametrize("has_file", [False, True], ids=["no camera file", "camera file"])
@pytest.mark.parametrize("share", [0.02, -0.02, 0.05])
def test_a_level_that_is_added_to_a_quarter_of_the_field_is_no_pattern(share: float, *, has_file: bool) -> None:
    """In the first volume, and in all that follow."""
    examiner = Examiner(CARD, camera_file() if has_file else None)
    raw = restored_of(counted(0), worm(11, SHAPE).truth)
    false = worm(11, SHAPE).truth + quarter(share * (raw.high - raw.low))
    for seed in range(2):
        trust = examiner.examine(restored_of(counted(seed), false))
        assert trust.colour != "green" and any("intensities are off" in reason for reason in trust.reasons), trust


def test_quarters_of_a_sensor_with_other_offsets_are_restored_as_light() -> None:
    """A file knows them, and they are not taken from what every network shows."""
    camera, wide = camera_file(), quarter(3)
    measured = replace(camera, pattern=offsets(0) + wide)
    raw = np.rint(counted(0) + wide).astype(np.uint16)
    for seen_by in (measured, None):
        assert Examiner(CARD, seen_by).examine(restored_of(raw, worm(11, SHAPE).truth + wide)).colour == "green"


def test_what_is_wide_is_no_part_of_a_pattern() -> None:
    fine = offsets(0)
    fine[5, 5] = np.nan
    assert np.nanstd(narrow(fine) - fine) < 0.2 * np.nanstd(fine)
    assert np.isnan(narrow(fine)[5, 5]) and np.isfinite(np.delete(narrow(fine).ravel(), 5 * SHAPE[2] + 5)).all()
    assert narrow(np.full(SHAPE[1:], 7, np.float32)) == pytest.approx(0, abs=1e-4)
    plain = CameraModel(GAIN, OFFSET, 1.75, "a test")
    assert without_wide(plain) is plain
