"""Pixels that a network has to guess."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.training.hidden_pixels import HIDDEN_SHARE, hide


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
