"""Pixels that a network has to guess, and images that become two."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.training.measured_noise import pattern_like
from care_live.training.noisy_volumes import HIDDEN_SHARE, NoisyVolume, RecorruptedVolume, hide
from care_live.training.percentile_jitter import SpanTable
from care_live.trust.camera import CameraModel


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 8, 32, 32)])
def test_a_hidden_pixel_does_not_show_itself(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    patch = hide(image, np.random.default_rng(1))
    hidden = np.isfinite(patch.target)
    assert hidden.mean() == pytest.approx(HIDDEN_SHARE, abs=0.01)
    assert (patch.target[hidden] == image[hidden]).all()
    assert (patch.input[~hidden] == image[~hidden]).all()
    changed = image.copy()
    changed[hidden] += 5  # what is hidden has no way into the input
    again = hide(changed, np.random.default_rng(1))
    apart = hidden & ~_beside_hidden(hidden)
    assert apart.any()
    assert (again.input[apart] == patch.input[apart]).all()


def _beside_hidden(hidden: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    n_axes = hidden.ndim - 1
    around = np.ones((1, *[3] * n_axes))
    return ndimage.convolve(hidden.astype(np.float32), around, mode="mirror") > 1.5


def test_pixels_along_structured_noise_are_hidden_too() -> None:
    image = np.random.default_rng(0).random((1, 32, 32)).astype(np.float32)
    patch = hide(image, np.random.default_rng(1), (0, 2))
    assert np.isfinite(patch.target).mean() == pytest.approx(HIDDEN_SHARE / 5, abs=0.01)  # with those along: as many
    _, y, x = np.argwhere(np.isfinite(patch.target))[7]
    assert (patch.input[0, y, max(x - 2, 0) : x] != image[0, y, max(x - 2, 0) : x]).all()


def test_a_pixel_with_a_pattern_is_hidden_in_all_planes() -> None:
    image = np.random.default_rng(0).random((1, 5, 32, 32)).astype(np.float32)
    hidden = np.isfinite(hide(image, np.random.default_rng(1), is_fixed=True).target)[0]
    assert 0.04 < hidden.mean() < 0.12
    assert (hidden == hidden[0]).all()


@pytest.mark.parametrize("shape", [(1, 8, 96, 96), (1, 256, 256)], ids=["stack", "plane"])
def test_the_two_images_have_neither_noise_nor_pattern_in_common(shape: tuple[int, ...]) -> None:
    camera = CameraModel(gain=2.0, offset=100.0, read_noise=2.0, origin="a test", pattern_sd=4.0)
    drawn, clean = np.random.default_rng(0), np.full(shape, 130, np.float32)
    noise = 2 * drawn.poisson((clean - 100) / 2) - (clean - 100) + drawn.normal(0, 4, shape)
    counts = (clean + noise + pattern_like(shape, 4.0, drawn)).astype(np.float32)
    known = SpanTable.measure(counts)
    volume = RecorruptedVolume(NoisyVolume("v", "v", counts, known, np.empty((0, len(shape) - 1), int)), camera)
    patch = volume.cut((0,) * (len(shape) - 1), shape[1:], np.random.default_rng(1))
    first, second = (image - image.mean() for image in patch)
    assert abs(float(np.mean(first * second))) < 0.05 * float(np.mean(first**2))
    columns = [image.mean(axis=1) for image in (first, second)] if len(shape) == 4 else [first, second]
    assert abs(float(np.mean(columns[0] * columns[1]))) < 0.1 * float(np.mean(columns[0] ** 2))
    assert (volume.cut((0,) * (len(shape) - 1), shape[1:], None).input != patch.input).any()
