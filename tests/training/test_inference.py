"""A network applied to two exposures."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.training.evaluation.evaluate import estimate
from care_live.training.evaluation.inference import Applied


def test_psnr_is_estimated_from_two_exposures() -> None:
    truth = np.random.default_rng(5).normal(0.5, 0.3, (1, 6, 64, 64)).astype(np.float32)
    noises = [np.random.default_rng(seed).normal(0, 0.2, truth.shape).astype(np.float32) for seed in range(3)]
    raw, other, ours = truth + noises[0], truth + noises[1], truth + 0.3 * noises[2]
    row = estimate([Applied("validation", "v", raw, ours, None, None, other)])
    width = np.subtract(*np.percentile(other, (99.9, 0.1)))
    left = [sigma * 0.3 / np.hypot(sigma, 0.3) for sigma in (0.2, 0.06)]  # the affine fit shrinks what is noisy
    unsure = 0.15 * 0.2**2 / 2
    wanted = [-10 * np.log10((sigma**2 + unsure) / width**2) for sigma in left]
    assert (row.raw.psnr_db, row.ours.psnr_db) == pytest.approx(wanted, abs=1.5)  # an estimate, of few voxels
    assert np.isnan(row.ours.ssim)
