"""Which gain and offset take the bright image of a pair to the counts of its dim one.

A network that learns a target in the counts of its input restores what the camera would have counted without noise:
its results can be compared with the counts, as the trust light does. Were each image brought to a range of its own,
results would be off by what noise adds to the range of the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from care_live.training.image_parts import thin
from care_live.training.percentile_jitter import SpanTable

_SMOOTH_PX = 2.0
"""Along y and x: a shift of a pixel, and noise, then change the gain by little."""
LEAST_CORRELATION = 0.7
"""Of the smooth images; less is no line."""


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
