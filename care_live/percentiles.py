"""The intensity range of a volume: measured from histograms, applied before the network, undone after it.

Percentiles come from exact histograms of the camera counts. Histograms of single planes add up, so a range
is known as soon as the last plane is in, whatever the size of the volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.images import Counts

Histogram = NDArray[np.int64]
"""How often each count occurs: (256,) for uint8, (65536,) for uint16. Those of two planes may be added."""


@dataclass(frozen=True, slots=True)
class Span:
    """The counts that become 0 and 1.

    >>> span = Span(100.0, 300.0)
    >>> span.apply(np.array([100, 200, 300], np.uint16)).tolist()
    [0.0, 0.5, 1.0]
    """

    low: float
    """Camera counts that become 0."""
    high: float
    """Camera counts that become 1."""

    @property
    def width(self) -> float:
        """Counts from 0 to 1; never less than a millionth, so that a flat field divides by something."""
        return max(self.high - self.low, 1e-6)

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Map camera counts to normalised intensity: 0 at `low`, 1 at `high`; nothing is clipped."""
        shifted = pixels.astype(np.float32)
        shifted -= np.float32(self.low)
        shifted *= np.float32(1.0 / self.width)
        return shifted

    def undo(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map normalised intensity back to camera counts."""
        return self.undo_width(pixels) + np.float32(self.low)

    def undo_width(self, widths: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map a normalised width, such as a Laplace scale, to a width in camera counts."""
        return widths * np.float32(self.width)


def flicker(previous: Span, current: Span) -> float:
    """Return by how much of its range an unchanged region of the picture moves when the range changes.

    A pixel x is shown at (x − low) / (high − low). The largest change over the previous range is at one of
    its ends. 0 means that what did not change in the specimen does not change in the picture.
    """
    at_low = abs(previous.low - current.low) / current.width
    at_high = abs((previous.high - current.low) / current.width - 1.0)
    return max(at_low, at_high)


def histogram(pixels: Counts) -> Histogram:
    """Count how often each camera count occurs.

    Parameters
    ----------
    pixels : any shape, uint16 or uint8
    """
    n_bins = int(np.iinfo(pixels.dtype).max) + 1
    total = np.zeros(n_bins, np.int64)
    for plane in pixels if pixels.ndim > 2 else (pixels,):  # bincount widens to int64: a plane at a time
        total += np.bincount(plane.ravel(), minlength=n_bins)
    return total


def measure(pixels: NDArray[Any], low_percentile: float, high_percentile: float) -> Span:
    """Return the values at two percentiles of an image, exactly as ``numpy.percentile`` has them."""
    if not is_counts(pixels):
        return Span(*map(float, np.percentile(pixels, (low_percentile, high_percentile))))
    return span_of(histogram(pixels), low_percentile, high_percentile)


def is_counts(pixels: NDArray[Any]) -> bool:
    """Return whether an image has a histogram: uint8 and uint16 have one, other types have too many values."""
    return pixels.dtype.name in ("uint8", "uint16")


def span_of(counts: Histogram, low_percentile: float, high_percentile: float) -> Span:
    """Return the counts at two percentiles of a histogram; an empty histogram has the span (0, 0)."""
    cumulative = np.cumsum(counts)
    return Span(percentile_of(cumulative, low_percentile), percentile_of(cumulative, high_percentile))


def percentile_of(cumulative: NDArray[np.int64], percent: float, values: NDArray[Any] | None = None) -> float:
    """Interpolate linearly between the two order statistics around a rank, as ``numpy.percentile`` does.

    Parameters
    ----------
    cumulative : how many pixels have each value or a lower one
    values : in their order; None: the counts 0, 1, 2…
    """
    n = int(cumulative[-1])
    if n == 0:
        return 0.0
    rank = percent / 100.0 * (n - 1)
    below = int(rank)
    at = np.searchsorted(cumulative, [below, min(below + 1, n - 1)], side="right")
    lower, upper = (at if values is None else values[at]).tolist()
    return float(lower + (upper - lower) * (rank - below))
