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


@pytest.mark.parametrize("image", [
    np.random.default_rng(2).normal(200, 10, (3, 300, 301)).astype(np.float32),
    np.random.default_rng(3).poisson(20, (3, 300, 301)).astype(np.uint16),
    np.random.default_rng(4).integers(0, 255, (1, 64, 64)).astype(np.uint8),
], ids=["restored", "counts", "bytes"])  # fmt: skip
def test_a_window_is_what_numpy_measures(image):
    window = measure(image, 99.9)
    sample = image.reshape(-1)[:: max(1, image.size // 200_000) | 1]
    assert (window.low, window.high) == pytest.approx(tuple(np.percentile(sample, (1.0, 99.9))), rel=1e-5)
    inside = np.clip(sample, window.first, window.last)
    expected, _ = np.histogram(inside, bins=len(window.counts), range=(window.first, window.last))
    assert sum(window.counts) == sample.size
    assert np.abs(np.array(window.counts) - expected).sum() <= 2, "but for a value at an edge"
