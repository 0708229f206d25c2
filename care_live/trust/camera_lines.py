"""Rows and columns of a camera that are broken, or have another offset than its file says.

A line of the camera differs from its neighbours in all planes and along its whole length: no specimen is so straight.
One that is dead does not flicker, and a network restores it as darkness, so that nothing is left over there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.camera import CameraModel
from care_live.trust.hot_pixels import mended
from care_live.trust.residual import BIN_PX, Residual

Array: TypeAlias = NDArray[np.float32]

_SURE = 15.0
"""Standard deviations by which a line of squares differs from those beside it."""
_SHARE = 0.75
"""Of the parts of a line that must show it: a fibre along it ends somewhere."""
_STEADY, _FEWEST_PLANES = 6.0, 6
"""Times its own scatter from plane to plane by which it differs, in a stack of that many planes: the noise with which
rows are read is another one in each."""
_PARTS, _PARTS_Z = 8, 2
_AROUND, _FEWEST = 3, 12
"""Neighbours on each side; lines of a field that is large enough to tell."""
_SPREAD = 4
"""Squares on each side that a network draws from a broken line, too."""
_MOST_LINES = 8
"""More are no broken lines, but something of the specimen or of the light."""
_STILL, _LEAST_NOISE = 0.05, 0.25
"""Shares of the variance of neighbours, and of the camera's in the dark, below which a line does not flicker."""
_N_PLANES = 4
"""Of the raw volume, in which lines are looked at."""


@dataclass(frozen=True, slots=True)
class CameraLines:
    """Pixels."""

    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()


def broken(left: Residual, raw: NDArray[Any], camera: CameraModel, hot: Array | None = None) -> CameraLines:
    """Return the lines that were counted brighter or darker than restored in all planes, and those without noise.

    Parameters
    ----------
    left : of the raw volume
    raw : (z, y, x) counts
    hot : (y, x), hot pixels, which make no line; None: there are none
    """
    some = raw[:: max(1, len(raw) // _N_PLANES)]
    some = (some if hot is None else mended(some, hot)).astype(np.float32)
    least = _LEAST_NOISE * camera.dark_variance
    return CameraLines(*(_odd(left, some, axis=axis, least_variance=least) for axis in (1, 2)))


def without(left: Residual, lines: CameraLines) -> Residual:
    """Return a residual in which broken lines, and what a network made of them nearby, say nothing."""
    if not (lines.rows or lines.columns):
        return left
    weighted, weight = left.weighted.copy(), left.weight.copy()
    for axis, found in ((1, lines.rows), (2, lines.columns)):
        for line in found:
            at = line // BIN_PX
            band = [slice(None)] * 3
            band[axis] = slice(max(at - _SPREAD, 0), at + _SPREAD + 1)
            weighted[tuple(band)] = weight[tuple(band)] = 0
    return replace(left, weighted=weighted, weight=weight)


def cautions(lines: CameraLines) -> list[str]:
    """Return what to say of broken lines, in words."""
    listed = [f"row y={row}" for row in lines.rows] + [f"column x={column}" for column in lines.columns]
    if not listed:
        return []
    are = "is a broken line" if len(listed) == 1 else "are broken lines"
    return [
        f"{', '.join(listed)} {are} of the camera, or changed since 'care-live camera' measured it: "
        f"do not trust what is restored within {_SPREAD * BIN_PX} pixels"
    ]


def _odd(left: Residual, some: Array, *, axis: int, least_variance: float) -> tuple[int, ...]:
    """Return the lines along one axis that differ, pixels."""
    if left.weighted.shape[axis] < _FEWEST:
        return ()
    across = (0, 3 - axis)
    variance, level = some.var(axis=across), some.mean(axis=across)
    still = variance < np.minimum(_STILL * np.median(_beside(variance), axis=0), least_variance)
    contrast = np.abs(level - np.median(_beside(level), axis=0))
    found = {int(line) for line in np.flatnonzero(still) if _AROUND <= line < len(level) - _AROUND}
    for square in _uneven(left, axis):
        first = max((square - _SPREAD) * BIN_PX, 0)
        found.add(first + int(contrast[first : (square + _SPREAD + 1) * BIN_PX].argmax()))
    return tuple(sorted(found)) if len(found) <= _MOST_LINES else ()


def _uneven(left: Residual, axis: int) -> list[int]:
    """Return the lines of squares along which more or less is left over than beside them."""
    weighted, weight = (_in_parts(array, axis) for array in (left.weighted, left.weight))  # (part, line)
    counts = np.asarray(weighted / np.maximum(weight, np.float32(1e-9)), np.float32)
    excess = (counts - np.median(_beside(counts), axis=0)) * np.sqrt(weight)
    line = excess.sum(axis=0) / np.sqrt(len(excess))
    shown = (excess * np.sign(line) > 1).mean(axis=0)
    odd = np.flatnonzero((np.abs(line) > _SURE) & (shown > _SHARE))
    if len(odd):
        odd = odd[_steadiness(left, axis)[odd] > _STEADY]
    inside = odd[(odd >= _AROUND) & (odd < len(line) - _AROUND)]
    strongest = [np.abs(line[max(at - _SPREAD, 0) : at + _SPREAD + 1]).max() for at in inside]
    return [int(at) for at, most in zip(inside, strongest, strict=True) if np.abs(line[at]) >= most]


def _steadiness(left: Residual, axis: int) -> Array:
    """Return by how many times the error of its mean over planes each line differs from those beside it."""
    along = 3 - axis
    planes = np.delete(np.arange(len(left.weight)), left.without)
    weighted, weight = (array.sum(axis=along)[planes] for array in (left.weighted, left.weight))  # (z, line)
    if len(planes) < _FEWEST_PLANES:
        return np.full(weight.shape[1], np.inf, np.float32)
    counts = np.asarray(weighted / np.maximum(weight, np.float32(1e-9)), np.float32)
    excess = counts - np.median(_beside(counts), axis=0)
    error = excess.std(axis=0, ddof=1) / np.sqrt(len(planes))
    return np.asarray(np.abs(excess.mean(axis=0)) / np.maximum(error, np.float32(1e-9)), np.float32)


def _beside(lines: Array) -> Array:
    """Return the neighbours of each line, the last axis, along a new first axis."""
    return np.stack([np.roll(lines, step, axis=-1) for step in range(-_AROUND, _AROUND + 1) if step])


def _in_parts(volume: Array, axis: int) -> Array:
    """Sum over planes and along the lines, the upper and the lower planes and some parts of each line apart."""
    halves = [part.sum(axis=0) for part in np.array_split(volume, min(_PARTS_Z, len(volume)))]
    planes = halves if axis == 2 else [half.T for half in halves]
    return np.stack([part.sum(axis=0) for plane in planes for part in np.array_split(plane, _PARTS)])
