"""Where voxels lie: the bridge between indices and micrometres."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Grid:
    """A box of voxels somewhere in the specimen's space."""

    shape_px: tuple[int, int, int]
    """(z, y, x)."""
    voxel_size_um: tuple[float, float, float] = (1.0, 0.5, 0.5)
    """(z, y, x), micrometres."""
    origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """(z, y, x) of the centre of voxel (0, 0, 0)."""

    @classmethod
    def centred(
        cls,
        shape_px: tuple[int, int, int],
        voxel_size_um: tuple[float, float, float],
        centre_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Grid:
        """Return the grid whose middle lies at ``centre_um``."""
        spans = zip(shape_px, voxel_size_um, centre_um, strict=True)
        z_um, y_um, x_um = (middle - (n - 1) / 2 * step for n, step, middle in spans)
        return cls(shape_px, voxel_size_um, (z_um, y_um, x_um))

    @property
    def extent_um(self) -> tuple[float, float, float]:
        """(z, y, x) edge lengths."""
        z_um, y_um, x_um = (n * step for n, step in zip(self.shape_px, self.voxel_size_um, strict=True))
        return z_um, y_um, x_um

    def axis_um(self, axis: int) -> NDArray[np.float64]:
        """Return the centres of the voxels along one axis (0 is z)."""
        return self.origin_um[axis] + np.float64(self.voxel_size_um[axis]) * np.arange(self.shape_px[axis])

    def plane(self, z: int) -> Grid:
        """Return plane z as a grid of its own."""
        z_um = self.origin_um[0] + z * self.voxel_size_um[0]
        return replace(self, shape_px=(1, *self.shape_px[1:]), origin_um=(z_um, *self.origin_um[1:]))

    def coarse(self, factor: int) -> Grid:
        """Return the plane's grid at ``factor`` times the pixel size, covering at least the same field."""
        _, ny, nx = self.shape_px
        dz, dy, dx = self.voxel_size_um
        shape_px = (1, (ny - 1) // factor + 2, (nx - 1) // factor + 2)
        return Grid(shape_px, (dz, dy * factor, dx * factor), self.origin_um)


def linear_weights(at: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the matrix that interpolates values at sorted ``knots`` linearly to the places ``at``.

    Parameters
    ----------
    at : (n,) places; outside the knots the nearest knot's value is taken
    knots : (m,) strictly increasing

    Returns
    -------
    (n, m) float32, rows sum to 1: ``values_at = weights @ values_at_knots``
    """
    inside = np.clip(at, knots[0], knots[-1])
    right = np.clip(np.searchsorted(knots, inside), 1, len(knots) - 1)
    share = (inside - knots[right - 1]) / (knots[right] - knots[right - 1])
    weights = np.zeros((len(at), len(knots)), np.float32)
    rows = np.arange(len(at))
    weights[rows, right - 1] = 1 - share
    weights[rows, right] = share
    return weights


def refine(coarse: NDArray[np.float32], factor: int, shape_px: tuple[int, int]) -> NDArray[np.float32]:
    """Interpolate a smooth plane linearly from a coarse grid to the one it was made from.

    Parameters
    ----------
    coarse : (y, x) float32 on ``plane.coarse(factor)``
    shape_px : (y, x) of the plane

    Returns
    -------
    (y, x) float32
    """
    # no matrix product here: BLAS would start threads that get in the way of a live camera's
    ny, nx = shape_px
    rows = _spread(coarse, factor)[:ny]
    return _spread(rows.T, factor)[:nx].T


def _spread(knots: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    fine = np.empty((factor * (len(knots) - 1), knots.shape[1]), np.float32)
    rise = knots[1:] - knots[:-1]
    for step in range(factor):
        fine[step::factor] = knots[:-1] + np.float32(step / factor) * rise
    return fine
