"""Saturated pixels: each is a lower bound of the light, and says nothing of its noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CEILINGS = frozenset({255, 1023, 4095, 16383, 65535})
"""Largest counts of cameras of 8, 10, 12, 14 and 16 bits."""


def ceiling_of(raw: NDArray[Any]) -> int | None:
    """Return the largest count of the camera where a volume reaches it."""
    brightest = int(raw.max(initial=0))
    return brightest if brightest in _CEILINGS else None


def saturated_share(raw: NDArray[Any]) -> float:
    """Return the share of the voxels that are at the largest count of the camera."""
    ceiling = ceiling_of(raw)
    return 0.0 if ceiling is None else float(np.count_nonzero(raw == ceiling) / raw.size)
