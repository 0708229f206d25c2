"""Intensities of images: the percentiles that a range is drawn from, and the line between two exposures.

Inference normalises with the 2nd and the 99.8th percentile of the whole raw volume. Drawing both anew for
every patch teaches the network to live with a span that is a little off.

A gain and an offset take the bright image of a pair to the counts of its dim one. A network that learns a target in the
counts of its input restores what the camera would have counted without noise: its results can be compared with the
counts, as the trust light does. Were each image brought to a range of its own, results would be off by what noise adds
to the range of the input.

References
----------
Weigert et al., Nature Methods 15, 1090 (2018), and CSBDeep's default ranges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LOW_PERCENTILES = (1.0, 1.5, 2.0, 2.5, 3.0)
HIGH_PERCENTILES = (99.5, 99.6, 99.7, 99.8, 99.9)
USUAL = (2.0, 99.8)
_SMOOTH_PX = 2.0
"""Along y and x: a shift of a pixel, and noise, then change the gain by little."""
LEAST_CORRELATION = 0.7
"""Of the smooth images; less is no line."""
_ENOUGH_VOXELS = 4_000_000


def thin(image: Any) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Return every k-th row and column of an image (c, [z,] y, x), a few million voxels, and (1, [1,] k, k)."""
    step = 1
    while math.prod(image.shape) > _ENOUGH_VOXELS * step**2:
        step += 1
    steps = (1,) * (len(image.shape) - 2) + (step, step)
    return np.asarray(image[tuple(slice(None, None, every) for every in steps)]), steps


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


def draw_percentiles(rng: np.random.Generator) -> tuple[float, float]:
    """Return a fresh pair of percentiles."""
    return rng.uniform(LOW_PERCENTILES[0], LOW_PERCENTILES[-1]), rng.uniform(HIGH_PERCENTILES[0], HIGH_PERCENTILES[-1])


def repeated(
    span: tuple[NDArray[np.float32], NDArray[np.float32]], n: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a span (low, high), each (c,), for the channels of n images."""
    low, high = span
    return np.tile(low, n), np.tile(high, n)


def normalise(image: NDArray[Any], span: tuple[NDArray[np.float32], NDArray[np.float32]]) -> NDArray[np.float32]:
    """Map counts to 0 at low and 1 at high, per channel; image is (c, [z,] y, x)."""
    low, high = (bound.reshape(-1, *[1] * (image.ndim - 1)) for bound in span)
    scaled: NDArray[np.float32] = (image.astype(np.float32) - low) / np.maximum(high - low, 1e-6)
    return scaled


@dataclass(frozen=True, slots=True, eq=False)
class BrightnessLine:
    """dim = gain · bright + offset, without noise."""

    gain: NDArray[np.float64]
    """(c,), above 0."""
    offset: NDArray[np.float64]
    """(c,) counts of the dim image."""

    def dimmed(self, bright: NDArray[Any]) -> NDArray[np.float32]:
        """Return bright counts (c, [z,] y, x) as the dim image would show them."""
        sides = (-1, *[1] * (bright.ndim - 1))
        return np.asarray(self.gain.reshape(sides) * bright + self.offset.reshape(sides), np.float32)

    def brightened(self, span: SpanTable) -> SpanTable:
        """Return the span in counts of the bright image, of one of the dim image."""
        return SpanTable((span.low - self.offset) / self.gain, (span.high - self.offset) / self.gain)


def line_of(bright: Any, dim: Any) -> BrightnessLine | None:
    """Measure the line by least squares of smooth images; None where there is no line, or the shapes differ.

    Parameters
    ----------
    bright, dim : (c, [z,] y, x) counts
    """
    if tuple(bright.shape) != tuple(dim.shape):
        return None
    (wanted, steps), (shown, _) = thin(bright), thin(dim)
    lines = [_line(*(_smooth(image[c], steps[-1]) for image in (wanted, shown))) for c in range(len(shown))]
    if any(one is None for one in lines):
        return None
    gain, offset = np.transpose([one for one in lines if one is not None])
    return BrightnessLine(gain, offset)


def _smooth(image: NDArray[Any], step: int) -> NDArray[np.float64]:
    widths = (*[0.0] * (image.ndim - 2), _SMOOTH_PX / step, _SMOOTH_PX / step)
    return np.asarray(ndimage.gaussian_filter(image.astype(np.float32), widths), np.float64)


def _line(bright: NDArray[np.float64], dim: NDArray[np.float64]) -> tuple[float, float] | None:
    away, answer = bright - bright.mean(), dim - dim.mean()
    spread, shared = float(np.mean(away**2)), float(np.mean(away * answer))
    if shared <= LEAST_CORRELATION * (spread * float(np.mean(answer**2))) ** 0.5:
        return None
    return shared / spread, float(dim.mean() - shared / spread * bright.mean())
