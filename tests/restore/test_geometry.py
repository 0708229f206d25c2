"""Upsampling of a time point."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from care_live.restore.geometry import upsample_z
from tests.make.networks import noisy


@pytest.mark.parametrize("factor", [1.0, 2.0, 3.7, 10.2])
def test_upsampling_is_linear_between_the_same_first_and_last_plane(factor: float) -> None:
    pixels = noisy((5, 6, 7))[None]
    wanted = scipy.ndimage.zoom(pixels[0].astype(np.float32), (factor, 1, 1), order=1)
    assert np.allclose(upsample_z(pixels, factor)[0], wanted, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("factor", [2.0, 2.5, 3.4, 10.2])
@pytest.mark.parametrize("n_planes", [1, 2, 5, 20])
def test_upsampled_counts_are_rounded_as_scipy_rounds_them(n_planes: int, factor: float) -> None:
    pixels = noisy((n_planes, 6, 7))
    wanted = scipy.ndimage.zoom(pixels, (factor, 1, 1), order=1)
    assert (upsample_z(pixels[None], factor, whole_counts=True)[0] == wanted).all()
