"""Uncertainty as it is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.viewer.auto_contrast import measure
from care_live.viewer.uncertainty import relative


def test_relative_uncertainty_is_nothing_in_the_background_and_one_where_the_interval_is_the_signal():
    mean = np.full((1, 8, 64), 100, np.float32)
    mean[0, :, 32:] = 1100
    window = measure(mean)
    scale = np.full_like(mean, 1000)
    share = relative(mean, scale, window, 1.0)
    assert (share[0, :, :32] == 0).all()
    assert share[0, :, 32:] == pytest.approx(1000 / 1050, rel=0.01)
