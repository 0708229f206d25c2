"""Which intensities a screen should show: robust percentiles and a histogram of one volume."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

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
    low, high = (float(value) for value in np.percentile(sample, (LOW_PERCENTILE, high_percentile)))
    if high <= low:
        high = low + max(1.0, abs(low) * 1e-3)
    first, last = low - 0.15 * (high - low), high + 0.35 * (high - low)
    n_bins = N_BINS
    if image.dtype.kind == "u":  # every bin the same number of whole counts, or the histogram becomes a comb
        width = max(1, round((last - first) / N_BINS))
        first = float(np.floor(first)) - 0.5
        n_bins = int(np.ceil((last - first) / width))
        last = first + width * n_bins
    counts, _ = np.histogram(np.clip(sample, first, last), bins=n_bins, range=(first, last))
    return ContrastWindow(low, high, first, last, tuple(counts.tolist()))


def _sample(image: ShownImage) -> NDArray[np.float32]:
    """Return about 200,000 finite voxels; an odd stride, so that no row or column is favoured."""
    flat = image.reshape(-1)
    stride = max(1, flat.size // _SAMPLES) | 1
    sample = flat[::stride].astype(np.float32)
    return sample[np.isfinite(sample)]


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
