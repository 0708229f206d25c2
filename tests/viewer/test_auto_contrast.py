"""The window of a volume's contrast."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.viewer.auto_contrast import measure


def test_a_dead_and_a_hot_pixel_leave_the_contrast_alone():
    clean = np.random.default_rng(1).normal(200, 10, (8, 128, 128)).astype(np.float32)
    spoilt = clean.copy()
    spoilt[:, 5, 7], spoilt[:, 60, 60] = 0, 65535
    assert measure(spoilt).low == pytest.approx(measure(clean).low, abs=1)
    assert measure(spoilt).high == pytest.approx(measure(clean).high, abs=3)


@pytest.mark.parametrize("fill", [0, 7, np.nan, np.inf], ids=str)
def test_a_volume_without_contrast_still_has_a_window(fill):
    window = measure(np.full((2, 4, 4), fill, np.float32))
    assert window.high > window.low and window.last > window.first
