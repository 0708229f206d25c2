"""The paper's metric and evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.metrics import fit_affine, psnr_db, score
from care_live.training.data.noisy import RECORRUPTION, SHARE_OF_SECOND
from care_live.training.evaluation.evaluate import best_gaussian, best_total_variation, estimate, evaluate
from care_live.training.evaluation.filter_verdict import of_scores
from care_live.training.evaluation.inference import Applied
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


def lines(shape: tuple[int, ...] = (4, 64, 64)) -> np.ndarray:
    """Fine structure whose range is that of 20 photo-electrons."""
    _, y, x = np.indices(shape)
    return np.asarray(10 + 10 * np.sin(2 * np.pi * (x + 0.3 * y) / 7))


def recorrupted(truth: np.ndarray, *, left: float, taken_for: float) -> Applied:
    """Two images of one with unit noise, which is taken for another variance; restored with a share of the noise."""
    rng = np.random.default_rng(7)
    own, made = rng.normal(0, 1, truth.shape), rng.normal(0, taken_for**0.5, truth.shape)
    raw, other = truth + own + RECORRUPTION * made, truth + own - made / RECORRUPTION
    ours = truth + left * (own + RECORRUPTION * made)
    return Applied("v", "v", raw[None], ours[None], None, None, other[None])


def by_truth(image: np.ndarray, other: np.ndarray, truth: np.ndarray) -> float:
    """Return PSNR by the truth, over the range of the second exposure."""
    widths = [np.subtract(*np.percentile(one, (99.9, 0.1))) for one in (other, truth)]
    return psnr_db(image, truth) + 20 * float(np.log10(widths[0] / widths[1]))


@pytest.mark.parametrize("taken_for", [0.9, 1.0, 1.12])
def test_an_estimate_is_at_most_what_the_truth_says(taken_for: float) -> None:
    truth = lines()
    result = recorrupted(truth, left=10**-0.5, taken_for=taken_for)
    wanted = by_truth(result.mean[0], result.truth[0], truth)
    row = estimate([result], second_noise=SHARE_OF_SECOND)
    assert wanted == pytest.approx(by_truth(result.raw[0], result.truth[0], truth) + 10, abs=0.5)
    assert wanted - 6 < row.ours.psnr_db <= wanted + 0.5


def test_one_volume_that_leaves_no_error_leaves_no_verdict() -> None:
    rows = [recorrupted(lines(), left=left, taken_for=1.3) for left in (0.0, 0.5)]
    assert np.isfinite(estimate(rows[1:], second_noise=SHARE_OF_SECOND).ours.psnr_db)
    assert of_scores(estimate(rows, second_noise=SHARE_OF_SECOND), estimated=True) is None


@pytest.mark.parametrize("light", [0.8, 1.0])
def test_a_second_exposure_that_is_dimmer_is_not_noise(light: float) -> None:
    truth, rng = lines(), np.random.default_rng(8)
    raw, other = truth + rng.normal(0, 1, truth.shape), light * truth + light**0.5 * rng.normal(0, 1, truth.shape)
    ours = truth + rng.normal(0, 0.1**0.5, truth.shape)
    row = estimate([Applied("v", "v", raw[None], ours[None], None, None, other[None])])
    wanted = by_truth(ours, other, truth)
    assert wanted - 4 < row.ours.psnr_db <= wanted + 0.5


def test_total_variation_is_a_bar_worth_clearing() -> None:
    truth = blobs(2, (6, 32, 32))
    raw = np.random.default_rng(2).poisson(20 * truth / truth.max() + 1).astype(np.float32)
    smooth, value = best_total_variation(raw, truth)
    assert value == pytest.approx(psnr_db(smooth, truth))
    assert value > psnr_db(raw, truth) + 2
