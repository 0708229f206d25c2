"""Which intensities a screen should show: robust percentiles and a histogram of one volume."""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from care_live.percentiles import histogram, is_counts, percentile_of
from care_live.viewer.view_records import ContrastWindow, ShownImage, ViewedVolume
from care_live.wire.arrays import Product

LOW_PERCENTILE = 1.0
HIGH_PERCENTILE = 99.9
"""A dead, hot or cosmic-ray pixel in every plane stays far below 0.1 % of a volume."""
HIGH_PERCENTILE_RESTORED = 99.97
"""Without noise the brightest voxels are structure, and few."""
N_BINS = 96
_SAMPLES = 200_000


def measure(image: ShownImage, high_percentile: float = HIGH_PERCENTILE) -> ContrastWindow:
    """Measure a window on a regular sample of a volume.

    Parameters
    ----------
    image : (z, y, x) counts or float32; NaN and infinity are left out
    high_percentile : shown white, 0-100
    """
    sample = _sample(image)
    if sample.size == 0:
        return ContrastWindow(0.0, 1.0, 0.0, 1.0, (0,) * N_BINS)
    values, n_up_to = _ranked(sample)
    low, high = (percentile_of(n_up_to, percent, values) for percent in (LOW_PERCENTILE, high_percentile))
    if high <= low:
        high = low + max(1.0, abs(low) * 1e-3)
    first, last = low - 0.15 * (high - low), high + 0.35 * (high - low)
    n_bins = N_BINS
    if image.dtype.kind == "u":  # every bin the same number of whole counts, or the histogram becomes a comb
        width = max(1, round((last - first) / N_BINS))
        first = float(np.floor(first)) - 0.5
        n_bins = int(np.ceil((last - first) / width))
        last = first + width * n_bins
    inner = np.searchsorted(values, np.linspace(first, last, n_bins + 1)[1:-1])  # what lies outside is in the end bins
    n_below = [0, *np.append(0, n_up_to)[inner].tolist(), sample.size]
    return ContrastWindow(low, high, first, last, tuple(np.diff(n_below).tolist()))


def _sample(image: ShownImage) -> NDArray[Any]:
    """Return about 200,000 finite voxels; an odd stride, so that no row or column is favoured."""
    flat = image.reshape(-1)
    stride = max(1, flat.size // _SAMPLES) | 1
    sample = flat[::stride]
    return sample if is_counts(sample) else sample[np.isfinite(sample)].astype(np.float32)


def _ranked(sample: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return values in their order, and how many voxels have each one or less; counts need no sorting."""
    if is_counts(sample):
        occurring = histogram(sample)
        return np.arange(len(occurring)), np.cumsum(occurring)
    return np.sort(sample), np.arange(1, sample.size + 1)


class Windows:
    """Measures each volume once, however many browsers look at it."""

    def __init__(self) -> None:
        self._measured: WeakKeyDictionary[ViewedVolume, dict[Product, ContrastWindow]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, shown: ViewedVolume, product: Product) -> ContrastWindow | None:
        """Return the window of one product, or None where the volume has no such product.

        What is still being restored keeps the window of the volume before it: contrast jumps with no slab.
        """
        if shown.before is not None:
            return self.of(shown.before, product)
        image = shown.product(product)
        if image is None:
            return None
        image = image[: shown.n_restored]
        with self._lock:
            known = self._measured.setdefault(shown, {})
            if product in known:
                return known[product]
        window = measure(image, HIGH_PERCENTILE if product == "raw" else HIGH_PERCENTILE_RESTORED)
        with self._lock:
            known[product] = window
        return window
