"""The offsets of a camera's pixels pass for no error of a restoration, whether a network restores them or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from care_live.simulate import noise
from care_live.trust.camera import CameraModel
from care_live.trust.examiner import Examiner
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
