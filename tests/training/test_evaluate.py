"""The paper's metric, evaluation and calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from care_live.errors import TrainingError
from care_live.metrics import fit_affine, psnr_db, score
from care_live.training.calibrate import calibrate
from care_live.training.evaluate import best_gaussian, evaluate
from care_live.training.inference import Applied
from tests.training.conftest import blobs


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


def applied(seed: int, *, width: float = 1.0, ensemble: bool = True) -> Applied:
    """A network whose errors are `width` times larger than it says."""
    rng = np.random.default_rng(seed)
    truth = blobs(seed, (2, 64, 64))[None] / 1000
    scale = rng.uniform(0.02, 0.2, truth.shape).astype(np.float32)
    mean = truth + width * rng.laplace(0, scale).astype(np.float32)
    return Applied("low", f"v{seed}", truth, mean, scale, scale / scale.max() if ensemble else None, truth)


def test_evaluation_makes_a_row_a_condition() -> None:
    (row,) = evaluate([applied(1), applied(2)])
    assert (row.condition, row.n_volumes) == ("low", 2)
    assert row.raw.psnr_db > row.ours.psnr_db


def test_calibration_holds_on_volumes_it_has_not_seen() -> None:
    result = calibrate([applied(seed, width=2.5) for seed in range(4)])
    assert result.before_ece > 0.1
    assert result.after_ece < 0.02
    assert result.calibration.observed_after == pytest.approx(result.calibration.levels, abs=0.02)
    assert result.calibration.factors == pytest.approx([2.5] * 6, rel=0.1)
    assert result.error_by_disagreement[-1] > 3 * result.error_by_disagreement[0]


def test_calibration_needs_two_volumes_and_a_scale() -> None:
    with pytest.raises(TrainingError, match="two"):
        calibrate([applied(1)])
    with pytest.raises(TrainingError, match="no Laplace scale"):
        calibrate([replace(applied(1), laplace_scale=None), applied(2)])
