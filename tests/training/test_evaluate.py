"""The paper's metric and evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.metrics import fit_affine, psnr_db, score
from care_live.training.classical import best_gaussian
from care_live.training.evaluate import evaluate
from tests.training.conftest import applied, blobs


def test_an_affine_copy_is_perfect() -> None:
    truth = blobs(0, (4, 32, 32))
    perfect = score(3 * truth + 17, truth)
    assert perfect.nrmse < 1e-6
    assert perfect.ssim == pytest.approx(1)


def test_nrmse_by_hand() -> None:
    rng = np.random.default_rng(1)
    truth, noise = rng.random(100_000), rng.normal(0, 0.1, 100_000)
    low, high = np.percentile(truth, (0.1, 99.9))
    fitted, normed = fit_affine((truth + noise).reshape(100, 1000), truth.reshape(100, 1000))
    slope, offset = np.polyfit(truth + noise, (truth - low) / (high - low), 1)
    assert np.allclose(fitted.ravel(), slope * (truth + noise) + offset)
    assert psnr_db(truth + noise, truth) == pytest.approx(-10 * np.log10(np.mean((fitted - normed) ** 2)))


def test_the_best_gaussian_beats_the_raw_image() -> None:
    truth = blobs(2, (6, 32, 32))
    raw = truth + np.random.default_rng(2).normal(0, 150, truth.shape)
    filtered, value = best_gaussian(raw, truth)
    assert value == pytest.approx(psnr_db(filtered, truth))
    assert value > psnr_db(raw, truth) + 2


def test_evaluation_makes_a_row_a_condition() -> None:
    (row,) = evaluate([applied(1), applied(2)])
    assert (row.condition, row.n_volumes) == ("low", 2)
    assert row.raw.psnr_db > row.ours.psnr_db
