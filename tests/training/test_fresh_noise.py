"""Further exposures of small pairs: noise as the camera's, and none where the pair does not allow it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from care_live.training.brightness import line_of
from care_live.training.examples import PairedVolume, paired
from care_live.training.fresh_noise import MOST_EXPOSURES, expose, may_be_exposed_again, with_fresh_noise
from care_live.trust.camera import CameraModel
from tests.training.conftest import blobs

CAMERA = CameraModel(gain=2.0, offset=100.0, read_noise=1.5, origin="test")
SHAPE = (4, 96, 96)


def pair(*, light: float = 60.0, seed: int = 0) -> PairedVolume:
    electrons = blobs(seed, SHAPE)[None] / 100  # up to 10, a few of background
    rng = np.random.default_rng(seed)
    dim, bright = (
        np.rint(expose((CAMERA.offset + CAMERA.gain * power * electrons).astype(np.float32), CAMERA, rng))
        for power in (1.0, light)
    )
    images = dim.astype(np.uint16), bright.astype(np.uint16)
    return paired("blobs", [images[0]], images[1], lines=[line_of(images[1], images[0])])


def test_further_exposures_have_the_noise_of_the_first_and_share_none_of_it() -> None:
    volume = pair()
    (fresh,) = with_fresh_noise([volume], seed=1)
    assert len(fresh.fresh) == 1
    assert len(fresh.fresh[0]) == MOST_EXPOSURES
    expected = (volume.target.astype(float) - CAMERA.offset) / 60 + CAMERA.offset
    noises = [image.astype(float) - expected for image in (volume.inputs[0], *fresh.fresh[0])]
    first, *others = [noise[expected > np.median(expected)] for noise in noises]
    assert all(np.var(noise) == pytest.approx(np.var(first), rel=0.15) for noise in others)
    assert all(abs(np.corrcoef(first, noise)[0, 1]) < 0.1 for noise in others)
    assert all(image.dtype == volume.inputs[0].dtype for image in fresh.fresh[0])


def test_patches_to_learn_from_show_all_exposures_and_validation_the_recorded_one() -> None:
    (volume,) = with_fresh_noise([pair()], seed=1)
    recorded, rng = volume.cut((0, 0, 0), SHAPE, None).input, np.random.default_rng(0)
    shown = [volume.cut((0, 0, 0), SHAPE, rng).input for _ in range(40)]
    alike = [np.corrcoef(image.ravel(), recorded.ravel())[0, 1] for image in shown]
    assert 0 < sum(one > 0.999 for one in alike) < 20


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_gives_the_same_noise(seed: int) -> None:
    one, other = (with_fresh_noise([pair()], seed=seed)[0].fresh[0][0] for _ in range(2))
    assert np.array_equal(one, other)


def test_a_pair_that_moved_or_a_target_as_dim_gets_none() -> None:
    volume = pair()
    dim, line = volume.inputs[0], volume.lines[0]
    assert line is not None
    assert may_be_exposed_again(volume.target, dim, line, CAMERA)
    assert not may_be_exposed_again(np.roll(volume.target, 6, axis=-1), dim, line, CAMERA)
    dim_target = pair(light=2.0)
    assert not may_be_exposed_again(dim_target.target, dim, dim_target.lines[0], CAMERA)  # its noise would be learnt
    (unchanged,) = with_fresh_noise([replace(volume, target=np.roll(volume.target, 6, axis=-1))], seed=1)
    assert not any(unchanged.fresh)


def test_large_recordings_get_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("care_live.training.fresh_noise.MOST_VOXELS", np.prod(SHAPE) - 1)
    volume = pair()
    assert with_fresh_noise([volume], seed=1) == [volume]
