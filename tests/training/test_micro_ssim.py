"""microSSIM: whatever the offset and the scale, and lower for what is blurred or noisy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from care_live.training.micro_ssim import micro_ssim
from tests.training.conftest import blobs


def test_offset_and_scale_do_not_matter() -> None:
    truth = blobs(0, (3, 48, 48)) / 1000
    image = truth + np.random.default_rng(0).normal(0, 0.05, truth.shape)
    once = micro_ssim(image, truth)
    assert 0.2 < once < 0.99
    assert micro_ssim(7 * image + 500, 0.1 * truth + 100) == pytest.approx(once, abs=2e-3)
    assert micro_ssim(3 * truth + 9, truth) == pytest.approx(1.0, abs=1e-3)


def test_what_is_farther_from_the_truth_scores_less() -> None:
    truth = blobs(1, (48, 48))
    scores = [micro_ssim(ndimage.gaussian_filter(truth, sigma), truth) for sigma in (0.5, 1.0, 2.0)]
    assert scores == sorted(scores, reverse=True)
    assert micro_ssim(1000 - truth, truth) < 0.5


def test_a_constant_truth_has_no_score() -> None:
    assert math.isnan(micro_ssim(blobs(0, (16, 16)), np.ones((16, 16))))
