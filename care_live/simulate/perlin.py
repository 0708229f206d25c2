"""Low-frequency Perlin noise: autofluorescence, uneven background, the texture of tissue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LATTICE = 32


@dataclass(frozen=True)
class Perlin:
    """Seeded gradient noise over space, about -1 to 1, smooth on the scale of ``cell_um``.

    References
    ----------
    Perlin, "Improving noise", ACM Transactions on Graphics 21, 681 (2002): lattice gradients blended with
    the quintic fade curve.
    """

    seed: int
    cell_um: float

    @cached_property
    def _gradients(self) -> NDArray[np.float64]:
        drawn = np.random.default_rng((0x9E71, self.seed)).standard_normal((_LATTICE, _LATTICE, _LATTICE, 3))
        return np.asarray(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))

    def at(self, z: Any, y: Any, x: Any) -> NDArray[np.float32]:
        """Return the noise at the given places.

        Parameters
        ----------
        z, y, x : arrays or numbers that broadcast together, micrometres
        """
        place = np.stack(np.broadcast_arrays(z, y, x), axis=-1) / self.cell_um
        corner = np.floor(place).astype(np.int64)
        inside = place - corner
        fade = inside**3 * (inside * (inside * 6 - 15) + 10)
        total = np.zeros(inside.shape[:-1])
        for step in np.ndindex(2, 2, 2):
            gradient = self._gradients[tuple(np.moveaxis((corner + step) % _LATTICE, -1, 0))]
            slope = np.sum(gradient * (inside - step), axis=-1)
            total += slope * np.prod(np.where(step, fade, 1 - fade), axis=-1)
        return np.asarray(1.6 * total, np.float32)
