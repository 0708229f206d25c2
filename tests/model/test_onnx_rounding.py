"""Weights in 8 bits: near every weight, and nearer still to the sums of kernels."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.model.onnx_rounding import in_codes


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0.1, 1, shape).astype(np.float32)


def test_every_weight_is_within_two_codes_and_mostly_within_one() -> None:
    weight = weights(5, 16, 3, 3, 3)
    codes, steps = in_codes(weight, (1, 1, 1))
    away = np.abs(codes - weight / steps[:, None, None, None, None])
    assert codes.dtype == np.int8
    assert away.max() <= 2.5
    assert (away <= 1).mean() > 0.99


def test_a_smooth_image_is_convolved_as_before() -> None:
    weight = weights(5, 16, 3, 3)
    codes, steps = in_codes(weight, (1, 1))
    exact = weight / steps[:, None, None, None]
    wrong = codes - exact
    nearest = np.rint(exact) - exact
    assert np.abs(wrong.sum(axis=(1, 2, 3))).max() <= 0.5 + 1e-3  # all channels equally bright
    assert np.square(wrong.sum(axis=(2, 3))).mean() < 0.5 * np.square(nearest.sum(axis=(2, 3))).mean()


@pytest.mark.parametrize("strides", [(2, 2), (1, 2)])
def test_taps_of_a_transposed_convolution_are_summed_as_they_meet_a_pixel(strides: tuple[int, int]) -> None:
    weight = weights(3, 8, 4, 4)
    codes, steps = in_codes(weight, strides)
    wrong = codes - weight / steps[:, None, None, None]
    for y, x in np.ndindex(*strides):
        assert np.abs(wrong[..., y :: strides[0], x :: strides[1]].sum(axis=(1, 2, 3))).max() <= 0.5 + 1e-3


def test_a_channel_of_zeros_stays_zero() -> None:
    weight = weights(3, 4, 3, 3)
    weight[1] = 0
    codes, steps = in_codes(weight, (1, 1))
    assert not codes[1].any()
    assert np.isfinite(steps).all()
