"""The evidence as one map: where a restored volume contradicts the photons, and on which side.

It has one number for a square of `BIN_PX` pixels a side, of the scale that shows most there. What counts against the
volume is at or beyond the mark of its kind (`care_live.maps.MapKind.mark`); what the limits forgive, as an error of
intensity, is drawn below it, however large: marks and the trust light say the same. What the camera's noise shows
everywhere is 0: it says nothing, and would be most of the bytes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from care_live.maps import MAPS, Array, Head, in_steps, step_of
from care_live.trust.evidence import Evidence
from care_live.trust.residual import BIN_PX

HEAD: Final[Head] = "evidence"
_MARK = MAPS[HEAD].mark or 0.0
_BELOW = np.float32(_MARK - step_of(HEAD))
_NOISE = 2.0
"""Standard deviations; of noise alone, 5 % is more."""


def grid(ny: int, nx: int) -> tuple[int, int]:
    """Return the rows and columns of the map of a field (y, x)."""
    return -(-ny // BIN_PX), -(-nx // BIN_PX)


def draw(found: Evidence, into: Array) -> None:
    """Fill the map of one volume.

    Parameters
    ----------
    into : (z, y, x); planes of the restored volume, on the grid
    """
    n_raw = len(found.maps[0])
    for z in range(len(into)):
        place = z if n_raw == len(into) else round(z * (n_raw - 1) / max(len(into) - 1, 1))
        drawn = in_steps(HEAD, _plane(found, place))
        drawn[(drawn < _NOISE) & (drawn > -_NOISE)] = 0.0  # not times 0: a copy from codes has no negative zero
        into[z] = drawn


def _plane(found: Evidence, z: int) -> Array:
    """Return the farthest from 0 of all scales, in one plane."""
    scales, alarms = [values[z] for values in found.maps], [alarm[z] for alarm in found.alarms]
    counts = any(alarm.any() for alarm in alarms)
    if counts:
        scales = [_counted(values, alarm) for values, alarm in zip(scales, alarms, strict=True)]
    upper = lower = scales[0]
    for plane in scales[1:]:
        fine = _on_grid(plane, upper.shape)
        upper, lower = np.maximum(upper, fine), np.minimum(lower, fine)
    most = np.where(upper >= -lower, upper, lower)
    return np.asarray(most if counts else np.clip(most, -_BELOW, _BELOW))


def _counted(values: Array, alarm: NDArray[np.bool_]) -> Array:
    """Return a residual that is beyond the mark exactly where it counts."""
    counted, at = np.clip(values, -_BELOW, _BELOW), values[alarm]
    counted[alarm] = np.copysign(np.maximum(np.abs(at), np.float32(_MARK)), at)
    return counted


def _on_grid(plane: Array, shape: tuple[int, ...]) -> Array:
    """Return squares of twice the side on the grid of the map."""
    if plane.shape == shape:
        return plane
    ny, nx = shape
    times = -(-ny // plane.shape[0])
    return np.repeat(np.repeat(plane, times, axis=0), times, axis=1)[:ny, :nx]
