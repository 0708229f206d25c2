"""Intensity spans: a fresh pair of percentiles for every patch, measured on its whole volume.

Inference normalises with the 2nd and the 99.8th percentile of the whole raw volume. Drawing both anew for
every patch teaches the network to live with a span that is a little off.

References
----------
Weigert et al., Nature Methods 15, 1090 (2018), and CSBDeep's default ranges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

LOW_PERCENTILES = (1.0, 1.5, 2.0, 2.5, 3.0)
HIGH_PERCENTILES = (99.5, 99.6, 99.7, 99.8, 99.9)
USUAL = (2.0, 99.8)


@dataclass(frozen=True, slots=True, eq=False)
class SpanTable:
    """The percentiles of one volume that a span may be drawn from."""

    low: NDArray[np.float64]
    """(5, c) counts at `LOW_PERCENTILES`."""
    high: NDArray[np.float64]
    """(5, c) counts at `HIGH_PERCENTILES`."""

    @classmethod
    def measure(cls, image: NDArray[Any]) -> Self:
        """Measure an image of (c, [z,] y, x)."""
        table = np.percentile(image.reshape(len(image), -1), LOW_PERCENTILES + HIGH_PERCENTILES, axis=1)
        return cls(low=table[: len(LOW_PERCENTILES)], high=table[len(LOW_PERCENTILES) :])

    def at(self, low_percentile: float, high_percentile: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (low, high), each (c,) counts."""
        low = [np.interp(low_percentile, LOW_PERCENTILES, channel) for channel in self.low.T]
        high = [np.interp(high_percentile, HIGH_PERCENTILES, channel) for channel in self.high.T]
        return np.asarray(low, np.float32), np.asarray(high, np.float32)


def draw(rng: np.random.Generator) -> tuple[float, float]:
    """Return a fresh pair of percentiles."""
    return rng.uniform(LOW_PERCENTILES[0], LOW_PERCENTILES[-1]), rng.uniform(HIGH_PERCENTILES[0], HIGH_PERCENTILES[-1])


def normalise(image: NDArray[Any], span: tuple[NDArray[np.float32], NDArray[np.float32]]) -> NDArray[np.float32]:
    """Map counts to 0 at low and 1 at high, per channel; image is (c, [z,] y, x)."""
    low, high = (bound.reshape(-1, *[1] * (image.ndim - 1)) for bound in span)
    scaled: NDArray[np.float32] = (image.astype(np.float32) - low) / np.maximum(high - low, 1e-6)
    return scaled
