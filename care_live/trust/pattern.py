"""The fixed pattern of a camera, estimated while it runs: what restorations leave over, the same in every plane."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.camera import CameraModel

Array: TypeAlias = NDArray[np.float32]

_ENOUGH_PLANES = 16
_MOST_PLANES = 4096
"""From here on older planes are forgotten slowly: a sensor warms up."""
_MOST_SDS = 3.0
"""Largest offset of a pixel, in standard deviations of the pattern: more is a structure."""


@dataclass(slots=True, eq=False)
class PatternEstimate:
    """A running mean of residuals, by pixel."""

    total: Array | None = None
    """(y, x) counts, summed over planes."""
    n_planes: int = 0
    noise: float = 0.0
    """Mean variance of one pixel in one plane, counts²."""

    def learn(self, by_pixel: Array, n_planes: int, noise: float) -> None:
        """Take the mean residual of one volume's planes, (y, x) counts, with no pattern subtracted."""
        if self.total is None or self.total.shape != by_pixel.shape:
            self.total, self.n_planes = np.zeros_like(by_pixel), 0
        if self.n_planes > _MOST_PLANES:
            self.total *= np.float32(0.5)
            self.n_planes //= 2
        self.total += by_pixel * np.float32(n_planes)
        self.n_planes += n_planes
        self.noise = noise

    def applied_to(self, camera: CameraModel) -> CameraModel:
        """Return a camera with this pattern, shrunk as far as it is still noise; unchanged while little is known."""
        if self.total is None or self.n_planes < _ENOUGH_PLANES:
            return camera
        true, noise = camera.pattern_sd**2, self.noise / self.n_planes
        if true <= 0:
            return camera
        weight = true / (true + noise)
        most = np.float32(_MOST_SDS * camera.pattern_sd)
        pattern = np.clip(self.total * np.float32(weight / self.n_planes), -most, most)
        return replace(camera, pattern=pattern, pattern_sd=float(np.sqrt(true * (1 - weight))))
