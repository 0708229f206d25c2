"""Total variation, the best classical denoiser."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.metrics import psnr_db
from care_live.training.classical import best_total_variation
from tests.training.conftest import blobs


def test_total_variation_is_a_bar_worth_clearing() -> None:
    truth = blobs(2, (6, 32, 32))
    raw = np.random.default_rng(2).poisson(20 * truth / truth.max() + 1).astype(np.float32)
    smooth, value = best_total_variation(raw, truth)
    assert value == pytest.approx(psnr_db(smooth, truth))
    assert value > psnr_db(raw, truth) + 2
