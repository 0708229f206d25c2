"""What is around a place that contradicts the photons: light, the error that the network expects, errors of level."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.camera import CameraModel
from care_live.trust.residual import BIN_PX, Residual, coarser
from care_live.trust.smooth import largest, smooth

Array: TypeAlias = NDArray[np.float32]

SCALES_PX: tuple[tuple[float, float, float], ...] = ((1.0, 1.5, 1.5), (1.5, 2.5, 2.5), (2.0, 4.0, 4.0))
"""Standard deviations (z, y, x) of the Gaussians, raw voxels, finest first."""
WIDE_PX = 4
"""Side of the squares of what varies slowly: the light and the network's own error."""
_NEIGHBOURHOOD = 1.8
"""In smoothing widths: light that a network spreads from a bright structure is an error of intensity, too."""
_NEARBY = (3, 2, 2)
"""Planes, and squares of `WIDE_PX` pixels."""
_AROUND_PX, _PLACE_PX = (4.0, 10.0, 10.0), (2.5, 6.0, 6.0)
"""Widths of the Gaussian that are surroundings, and of the one in its middle that is the place itself."""
_FEW = 10.0
"""Squared standard deviations of tone in the surroundings: less says little."""


class Surroundings:
    """The light and the network's own error around each place, computed where they are asked for.

    Parameters
    ----------
    left : of the volume, without its errors of level
    range_counts : of the restoration, from its low to its high percentile
    interval : half of the network's interval of 90 %, counts, (z, y, x) on wide squares; None: it gives none
    """

    def __init__(self, left: Residual, camera: CameraModel, range_counts: float, interval: Array | None) -> None:
        self._left, self._camera, self._range_counts, self._interval = left, camera, range_counts, interval

    @cached_property
    def signal(self) -> Array:
        """(z, y, x) counts on wide squares: the larger of the light here and in the neighbourhood."""
        wide = tuple(_NEIGHBOURHOOD * width for width in self._sigma)
        return np.maximum(smooth(self._light, self._sigma), smooth(self._light, wide))  # type: ignore[arg-type]

    @cached_property
    def brightest(self) -> Array:
        """(z, y, x) counts on wide squares: the most light of a square nearby."""
        return largest(self._light, _NEARBY)

    def absent_tone(self, shape: tuple[int, ...]) -> Array:
        """Return which share of what their brightness is off by the surroundings of each square do not show.

        Parameters
        ----------
        shape : (z, y, x) of squares of `BIN_PX` pixels
        """
        left = self._left
        if left.untoned is None:
            return np.zeros(shape, np.float32)
        taken = left.untoned - left.weighted  # weight times counts
        tone = np.asarray(taken / np.maximum(left.weight, np.float32(1e-9)), np.float32)
        shown, most = (self._around(array) for array in (left.weighted * tone, taken * tone))
        share = np.clip(-shown / (most + np.float32(_FEW)), 0, 1)
        times = WIDE_PX // BIN_PX
        return np.repeat(np.repeat(share, times, axis=1), times, axis=2)[:, : shape[1], : shape[2]]

    def _around(self, squares: Array) -> Array:
        """Return the sum over what surrounds each wide square."""
        coarse = coarser(squares, WIDE_PX // BIN_PX)
        sums = []
        for along_z, *lateral in (_AROUND_PX, _PLACE_PX):
            sigma = (along_z if len(coarse) > 1 else 0.0, lateral[0] / WIDE_PX, lateral[1] / WIDE_PX)
            sums.append(smooth(coarse, sigma) * np.float32(math.prod(2 * math.pi**0.5 * one for one in sigma if one)))
        return np.asarray(sums[0] - sums[1], np.float32)

    @cached_property
    def is_lit(self) -> NDArray[np.bool_]:
        """(z, y, x) on wide squares: where photons make more of the noise than the camera's electronics."""
        signal = self._left.signal[:, ::2, ::2]
        lit = np.asarray(signal * np.float32(self._camera.gain) > np.float32(self._camera.dark_variance))
        lit[list(self._left.without)] = False
        return lit

    @cached_property
    def error(self) -> Array:
        """(z, y, x) counts on wide squares, at least 1e-6."""
        if self._interval is None:
            shape = (len(self._left.signal), *(-(-n * BIN_PX // WIDE_PX) for n in self._left.signal.shape[1:]))
            return np.full(shape, max(self._range_counts, 1e-6), np.float32)
        return np.maximum(smooth(self._interval, self._sigma), np.float32(1e-6))

    @cached_property
    def _light(self) -> Array:
        return coarser(self._left.signal, WIDE_PX // BIN_PX) * np.float32((BIN_PX / WIDE_PX) ** 2)

    @property
    def _sigma(self) -> tuple[float, float, float]:
        """Of the middle scale."""
        along_z, *lateral = SCALES_PX[1]
        return (along_z if len(self._left.signal) > 1 else 0.0, lateral[0] / WIDE_PX, lateral[1] / WIDE_PX)
