"""Planes of a volume that is still being restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.images import VolumeKey
from care_live.maps import Head
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
    maps: Mapping[Head, NDArray[np.float32]]
    """(z, y, x) each, read-only."""
    voxel_size_um: tuple[float, float, float]

    def products(self) -> dict[Product, tuple[NDArray[Any], tuple[float, float, float]]]:
        """Return every product that the network gives, with its voxel size, (z, y, x) µm."""
        return {head: (array, self.voxel_size_um) for head, array in self.maps.items()}
