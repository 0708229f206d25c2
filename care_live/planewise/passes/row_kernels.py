"""Kernels for even and odd rows apart, each half of a plane.

Upsampled rows come in pairs of equals, u[j] at 2j and 2j + 1. A convolution meets only two different ones among
three, and two products are left of three, without any sum of planes::

    even rows    u[j-1] g₀ + u[j] (g₁ + g₂)
    odd rows     u[j] (g₀ + g₁) + u[j+1] g₂
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.planewise.ir import Plane


class Rows(NamedTuple):
    """The rows of a plane; the same plane twice where they come in pairs of equals."""

    even: Plane
    odd: Plane


class RowTerm(NamedTuple):
    """Rows of a kernel that read one half."""

    plane: Plane
    half: str
    weight: NDArray[np.float32]
    above: int
    """Rows of zeros above the half."""
    below: int
    step: int = 1


def stepping(plane: Plane, weight: NDArray[np.float32], side: int) -> RowTerm:
    """Read a whole plane around every second row.

    Parameters
    ----------
    weight : (c_out, c_in, ky, kx), ky odd
    side : 0 for even rows of the output, 1 for odd ones
    """
    centre = weight.shape[2] // 2
    return RowTerm(plane, "whole", weight, centre - side, centre - 1 + side, step=2)


def gathered(rows: Rows, weight: NDArray[np.float32], side: int) -> list[RowTerm]:
    """Gather the rows of a kernel by the half on which they fall, and by how far from their own row.

    Parameters
    ----------
    weight : (c_out, c_in, ky, kx), ky odd
    side : 0 for even rows of the output, 1 for odd ones
    """
    kernels: dict[Plane, dict[int, NDArray[np.float32]]] = {}
    for tap in range(weight.shape[2]):
        distance, half = divmod(side + tap - weight.shape[2] // 2, 2)
        kernel = kernels.setdefault(rows[half], {})
        kernel[distance] = kernel[distance] + weight[:, :, tap] if distance in kernel else weight[:, :, tap]
    return [_term(plane, rows, kernel) for plane, kernel in kernels.items()]


def _term(plane: Plane, rows: Rows, kernel: Mapping[int, NDArray[np.float32]]) -> RowTerm:
    half = "both" if rows.even == rows.odd else Rows._fields[rows.index(plane)]
    stacked = np.stack([kernel[distance] for distance in sorted(kernel)], axis=2)
    return RowTerm(plane, half, stacked, -min(kernel), max(kernel))
