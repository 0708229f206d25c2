"""The places where a restoration contradicts its photons: the worst of each neighbourhood, over all scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.verdict import MAX_DOUBTS, Doubt

LEAST_SIGMAS = 4.8
"""Of an alarm."""
_MOST_CANDIDATES = 4096


def peaks(z: NDArray[np.float32], alarm: NDArray[np.bool_], width: NDArray[np.float64], *, bin_px: int) -> list[Doubt]:
    """Return the worst places of one scale, none in the neighbourhood of a worse one.

    Parameters
    ----------
    width : (z, y, x) standard deviation of the smoothing, in squares along y and x
    """
    places = np.argwhere(alarm)
    if not len(places):
        return []
    values = z[alarm]
    order = np.argsort(-np.abs(values))[:_MOST_CANDIDATES]
    places, values = places[order], values[order]
    found: list[Doubt] = []
    while len(places) and len(found) < MAX_DOUBTS:
        worst = places[0]
        found.append(_doubt(worst, float(values[0]), bin_px))
        kept = _distance(places, worst, width) > _reach(float(values[0]))
        places, values = places[kept], values[kept]
    return found


def _doubt(place: NDArray[np.intp], z: float, bin_px: int) -> Doubt:
    at = (int(place[0]), int(place[1]) * bin_px + bin_px // 2, int(place[2]) * bin_px + bin_px // 2)
    return Doubt("missing" if z > 0 else "invented", at, round(abs(z), 2))


def _distance(places: NDArray[Any], from_place: Any, width: Any) -> NDArray[np.float64]:
    """Return distances in smoothing widths, at least half a voxel along each axis."""
    return np.asarray(np.sqrt((((places - np.asarray(from_place)) / np.maximum(width, 0.5)) ** 2).sum(axis=-1)))


def _reach(z: float) -> float:
    """Return how far, in smoothing widths, one place stays visible: a Gaussian twice as wide, down to the threshold."""
    return 2.0 * max(1.0, math.sqrt(2 * max(math.log(abs(z) / LEAST_SIGMAS), 0.0)))


def apart(doubts: Sequence[Doubt], width: NDArray[np.float64]) -> tuple[Doubt, ...]:
    """Merge what several scales saw of one place; the worst first.

    Parameters
    ----------
    width : (z, y, x) standard deviation of the widest smoothing, voxels
    """
    kept: list[Doubt] = []
    for doubt in sorted(doubts, key=lambda one: -one.sigmas):
        if all(_distance(np.array(doubt.place_px), one.place_px, width) > _reach(one.sigmas) for one in kept):
            kept.append(doubt)
    return tuple(kept[:MAX_DOUBTS])
