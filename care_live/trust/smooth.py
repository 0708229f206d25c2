"""Separable Gaussian smoothing by matrix products, numpy alone; kernels, and their squares, are exact at borders."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]
Power: TypeAlias = Literal[1, 2]
Indices: TypeAlias = tuple[NDArray[np.intp], ...]

_REACH = 3.5
"""Standard deviations at which kernels end."""
_FEW = 0.3
"""Of a volume's voxels, that windows around some places read; where they read more, the whole volume is smoothed."""
_WHOLE_PX, _BLOCK_PX = 60, 32
"""Rows of one product, above which it is cut into blocks: a band of a matrix is mostly zeros."""


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A run of outputs and the inputs that reach them."""

    write: slice
    read: slice
    kernel: Array
    """(outputs, inputs)."""


def smooth(volume: Array, sigma_px: tuple[float, float, float], power: Power = 1) -> Array:
    """Convolve a volume (z, y, x) with a Gaussian of sum 1, or with its square; renormalised at the borders.

    Parameters
    ----------
    sigma_px : (z, y, x), voxels; 0 leaves an axis as it is
    power : 2 gives the variance of a smoothed field of independent voxels with these variances
    """
    out = volume
    for axis in (2, 1, 0):
        if sigma_px[axis] > 0:
            out = _along(out, axis, _blocks(volume.shape[axis], sigma_px[axis], power))
    return out


def smooth_at(volume: Array, sigma_px: tuple[float, float, float], places: Indices) -> Array:
    """Return what `smooth` gives at some places, (n,); of few it takes next to no time.

    Parameters
    ----------
    places : numbers of planes, rows and columns
    """
    window = math.prod(2 * _reach(sigma) + 1 for sigma in sigma_px)
    if len(places[0]) * window > _FEW * volume.size:
        return smooth(volume, sigma_px)[places]
    (z, at_z), (y, at_y), (x, at_x) = (
        _kernels_at(at, n, sigma) for at, n, sigma in zip(places, volume.shape, sigma_px, strict=True)
    )
    near = volume[z[:, :, np.newaxis, np.newaxis], y[:, np.newaxis, :, np.newaxis], x[:, np.newaxis, np.newaxis]]
    lines = np.einsum("pzyx,px->pzy", near, at_x)
    return np.asarray(np.einsum("pzy,py,pz->p", lines, at_y, at_z), np.float32)


def _kernels_at(places: NDArray[np.intp], n: int, sigma_px: float) -> tuple[NDArray[np.intp], Array]:
    """Return the inputs along an axis of n that reach each place, and their weights, (places, inputs)."""
    reach = _reach(sigma_px)
    steps = np.arange(-reach, reach + 1)
    read = places[:, np.newaxis] + steps
    kernel = np.exp(-0.5 * (steps / sigma_px) ** 2) if sigma_px > 0 else np.ones(1)
    weights = np.where((read >= 0) & (read < n), kernel, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.clip(read, 0, n - 1), weights.astype(np.float32)


def _reach(sigma_px: float) -> int:
    return math.ceil(_REACH * sigma_px)


def largest(volume: Array, reach_px: tuple[int, int, int]) -> Array:
    """Return the largest value within a reach along (z, y, x) of each voxel."""
    out = volume
    for axis, reach in enumerate(reach_px):
        here = np.moveaxis(out, axis, 0)
        around = here.copy()
        for step in range(1, min(reach, len(here) - 1) + 1):
            np.maximum(around[step:], here[:-step], out=around[step:])
            np.maximum(around[:-step], here[step:], out=around[:-step])
        out = np.moveaxis(around, 0, axis)
    return out


def sums_of_squares(n: int, sigma_px: float) -> Array:
    """Return Σ K² of the kernel at each of n places of an axis: 1 where it is not smoothed."""
    if sigma_px <= 0:
        return np.ones(n, np.float32)
    return np.concatenate([block.kernel.sum(axis=1) for block in _blocks(n, sigma_px, 2)])


def _along(volume: Array, axis: int, blocks: tuple[_Block, ...]) -> Array:
    if len(blocks) == 1:
        return _product(volume, axis, blocks[0].kernel)
    out = np.empty_like(volume)
    for block in blocks:
        read, write = ([slice(None)] * 3 for _ in range(2))
        read[axis], write[axis] = block.read, block.write
        out[tuple(write)] = _product(volume[tuple(read)], axis, block.kernel)
    return out


def _product(volume: Array, axis: int, kernel: Array) -> Array:
    if axis == 2:
        return np.asarray(np.matmul(volume, kernel.T))
    if axis == 1:
        return np.asarray(np.matmul(kernel, volume))
    flat = volume.reshape(len(volume), -1)
    return np.asarray(kernel @ flat).reshape(len(kernel), *volume.shape[1:])


@lru_cache(maxsize=64)
def _blocks(n: int, sigma_px: float, power: Power) -> tuple[_Block, ...]:
    reach = _reach(sigma_px)
    blocks = []
    step = n if n <= _WHOLE_PX else _BLOCK_PX
    for first in range(0, n, step):
        write = slice(first, min(first + step, n))
        read = slice(max(first - reach, 0), min(write.stop + reach, n))
        away = np.arange(write.start, write.stop)[:, np.newaxis] - np.arange(read.start, read.stop)
        kernel = np.where(np.abs(away) <= reach, np.exp(-0.5 * (away / sigma_px) ** 2), 0.0)
        kernel = (kernel / kernel.sum(axis=1, keepdims=True)) ** power
        blocks.append(_Block(write, read, kernel.astype(np.float32)))
    return tuple(blocks)
