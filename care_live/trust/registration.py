"""How far two images of a pair are shifted against each other, by phase correlation; numpy alone.

References
----------
Kuglin & Hines, "The phase correlation image alignment method", IEEE Conf. Cybernetics and Society (1975).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LARGEST_PX = 256
_SMOOTH_PX = 1.0
_TINY = 1e-30
_SURE = 8.0
"""A true match stands out from the correlation's noise by more standard deviations than this."""


@dataclass(frozen=True, slots=True)
class Shift:
    """The result of a comparison."""

    shift_px: tuple[float, ...]
    """By which the second image must be moved to lie on the first, one per axis."""
    peak: float
    """Height of the correlation's highest point."""
    background: float
    """Standard deviation of the correlation elsewhere."""

    @property
    def is_certain(self) -> bool:
        return self.peak > _SURE * self.background

    @property
    def length_px(self) -> float:
        return math.hypot(*self.shift_px)


def measure(first: NDArray[np.float32], second: NDArray[np.float32]) -> Shift:
    """Return the shift between two images of one shape, to a tenth of a pixel or so.

    They are looked at under a window that fades to the edges.
    """
    images = [_prepare(image) for image in (first, second)]
    shape = images[0].shape
    spectra = [np.fft.rfftn(image) for image in images]
    cross = spectra[0] * np.conj(spectra[1])
    floor = max(1e-6 * float(np.abs(cross).max()) ** 0.5, _TINY)  # a constant image correlates with nothing
    cross /= np.sqrt(np.abs(cross)) + floor  # half whitened: noise stays small
    surface = np.fft.irfftn(cross * _smoothing(shape), shape, axes=range(len(shape))).astype(np.float32)
    top = np.unravel_index(int(np.argmax(surface)), surface.shape)
    found = tuple(_refine(surface, top, axis) for axis in range(surface.ndim))
    return Shift(found, float(surface[top] - surface.mean()), float(surface.std()))


def middle(image: Any) -> NDArray[np.float32]:
    """Return the middle 256 px of every axis of (c, [z,] y, x), its brightest channel, as float32."""
    starts = [max(0, (size - _LARGEST_PX) // 2) for size in image.shape[1:]]
    window = (slice(None), *(slice(start, start + _LARGEST_PX) for start in starts))
    shown: NDArray[np.float32] = np.asarray(image[window], np.float32).max(axis=0)
    return shown


def _smoothing(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the transfer function of a Gaussian of `_SMOOTH_PX`, for a half spectrum."""
    squares = [np.fft.fftfreq(size) ** 2 for size in shape[:-1]] + [np.fft.rfftfreq(shape[-1]) ** 2]
    total = sum(np.meshgrid(*squares, indexing="ij", sparse=True))
    return np.asarray(np.exp(-2 * (math.pi * _SMOOTH_PX) ** 2 * total), np.float32)


def _prepare(image: NDArray[np.float32]) -> NDArray[np.float32]:
    faded: NDArray[np.float32] = np.minimum(image, np.percentile(image, 99.9)) - image.mean()
    for axis, size in enumerate(faded.shape):
        if size > 2:
            faded = faded * np.hanning(size + 2)[1:-1].astype(np.float32).reshape(-1, *[1] * (faded.ndim - axis - 1))
    return faded


def _refine(surface: NDArray[np.float32], top: tuple[Any, ...], axis: int) -> float:
    """Fit a parabola through the peak and its neighbours along one axis; return the signed shift."""
    size = surface.shape[axis]
    left, middle, right = (
        float(surface[(*top[:axis], (int(top[axis]) + step) % size, *top[axis + 1 :])]) for step in (-1, 0, 1)
    )
    bend = left - 2 * middle + right
    shift = int(top[axis]) + (0.5 * (left - right) / bend if bend < 0 and size > 2 else 0.0)
    return round(shift - size if shift > size / 2 else shift, 2)
