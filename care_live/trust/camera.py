"""The camera as a measuring instrument: how much noise a count carries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts2D: TypeAlias = NDArray[np.float32]

ROUNDING_VARIANCE = 1 / 12
"""Of whole counts, counts²."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraModel:
    """Gain, offset and noise of one camera; var = gain·max(mean − offset, 0) + (gain·read noise)² + 1/12.

    References
    ----------
    Janesick, Photon Transfer, SPIE Press (2007).
    """

    gain: float
    """Counts per photo-electron, > 0."""
    offset: float
    """Counts without light."""
    read_noise: float
    """Electrons, standard deviation."""
    origin: str
    """Where the figures come from, in words."""
    pattern: Counts2D | None = None
    """(y, x) counts: each pixel's own offset, less `offset`; NaN: a pixel too noisy to use; None: not known."""
    pattern_sd: float = 0.0
    """Counts: standard deviation of what of the pattern is not in `pattern`."""
    dark_noise: Counts2D | None = None
    """(y, x) counts²: each pixel's own variance without light; None: not known, all have `dark_variance`."""

    @property
    def dark_variance(self) -> float:
        """Variance without light, counts²."""
        return (self.gain * self.read_noise) ** 2 + ROUNDING_VARIANCE

    def variance(self, expected: NDArray[Any]) -> NDArray[np.float32]:
        """Return the noise variance (counts²) of expected counts, any shape, float32."""
        signal = np.maximum(expected, np.float32(self.offset))
        signal -= np.float32(self.offset)
        signal *= np.float32(self.gain)
        signal += np.float32(self.dark_variance)
        return np.asarray(signal, np.float32)

    def electrons(self, counts: float) -> float:
        """Return the photo-electrons of a level in counts."""
        return max(counts - self.offset, 0.0) / self.gain

    def fitted(self, shape_px: tuple[int, int]) -> CameraModel:
        """Return the camera for a field (y, x): a region of another size has a pattern that is not known."""
        if self.pattern is None or self.pattern.shape == shape_px:
            return self
        wide = float(np.hypot(np.nanstd(self.pattern), self.pattern_sd))
        return replace(self, pattern=None, dark_noise=None, pattern_sd=wide)

    def __str__(self) -> str:
        return (
            f"gain {self.gain:.3g} counts/e, offset {self.offset:.4g} counts, read noise {self.read_noise:.2g} e "
            f"({self.origin})"
        )
