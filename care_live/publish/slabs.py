"""Planes of a volume that is still being restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.images import VolumeKey
from care_live.wire.arrays import Product


@dataclass(frozen=True, slots=True, eq=False)
class RestoredSlab:
    """A run of restored planes over the full field, in camera counts."""

    key: VolumeKey
    """With the output channel."""
    z_first: int
    """Where it belongs along the restored volume's first axis."""
    n_planes: int
    """Of the whole restored volume."""
    mean: NDArray[np.float32]
    """(z, y, x), read-only."""
    laplace_scale: NDArray[np.float32] | None
    disagreement: NDArray[np.float32] | None
    voxel_size_um: tuple[float, float, float]

    def products(self) -> dict[Product, tuple[NDArray[Any], tuple[float, float, float]]]:
        """Return every product that the network gives, with its voxel size, (z, y, x) µm."""
        arrays: dict[Product, NDArray[np.float32] | None] = {
            "mean": self.mean,
            "laplace_scale": self.laplace_scale,
            "disagreement": self.disagreement,
        }
        return {name: (array, self.voxel_size_um) for name, array in arrays.items() if array is not None}
