"""The paper's metrics: closed forms, invariance, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from care_live import metrics
from care_live.errors import ConfigError
from care_live.metrics import micro_ssim
from tests.training.conftest import blobs

RNG = np.random.default_rng(0)


def test_affine_images_score_perfectly():
    truth = RNG.random((8, 32, 32))
    assert metrics.psnr_db(3.0 * truth + 7.0, truth) > 100
    assert metrics.score(3.0 * truth + 7.0, truth).ssim == pytest.approx(1.0, abs=1e-4)


def test_psnr_of_known_noise():
    truth = RNG.random((16, 64, 64))
    span = np.diff(np.percentile(truth, (0.1, 99.9)))[0]
    noise = RNG.normal(0, 0.01, truth.shape)
    # the fit shrinks the noise's share by var(truth) / (var(truth) + var(noise)), which is 1.2e-3 here
    assert metrics.psnr_db(truth + noise, truth) == pytest.approx(-20 * np.log10(0.01 / span), abs=0.05)


def test_scores_do_not_depend_on_the_intensity_scale():
    truth = RNG.random((8, 32, 32))
    image = truth + RNG.normal(0, 0.1, truth.shape)
    once, again = metrics.score(image, truth), metrics.score(0.1 * image - 5, 40 * truth + 3)
    assert once.psnr_db == pytest.approx(again.psnr_db, abs=1e-3)
    assert once.ssim == pytest.approx(again.ssim, abs=1e-3)


def test_refusals_name_what_came():
    with pytest.raises(ConfigError, match=r"\(2, 8, 8\).*\(3, 8, 8\)"):
        metrics.score(np.zeros((2, 8, 8)), np.ones((3, 8, 8)))
    with pytest.raises(ConfigError, match="constant"):
        metrics.score(np.zeros((8, 8, 8)), np.ones((8, 8, 8)))


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
