"""What a whole volume, a whole plane, or all places of one brightness are off by: levels, no structures.

They are said, where they are large, and taken out first. A network draws brightness towards what it saw most in
training: its background comes out a little too bright and dim tissue a little too dark, the same everywhere. Where a
specimen fills the field or the stack is thin, the range is wide, and so are these errors beside the camera's noise.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.camera import CameraModel
from care_live.trust.residual import Residual, less

Array: TypeAlias = NDArray[np.float32]

_PEDESTAL = 0.03
"""Share of the range by which dark places may be off."""
_TONE = 0.1
"""Share of the light by which a brightness may be off everywhere; what is beyond stays in the residual."""
_KNOTS, _FEWEST_LIT = (0.02, 0.06, 0.2), 64
"""Of the light of the brightest squares: where the tone is measured; squares that show it."""
_BRIGHTEST, _ENOUGH_SQUARES = 0.999, 2**16
_GROSS = 1.0
"""Standard deviations of the noise in the dark by which a whole volume is off before it is brought near: residuals are
clipped, and of one that is clipped everywhere nothing would be left; and the noise of pixels would seem the larger."""
_FLICKER = 0.04
"""Share of the light by which planes may differ from their neighbours."""
_FLICKER_AT_END = 0.2
"""The same for the first and last lit planes: a network does not see what lies beyond, and is often off there."""
_SURE = 5.0
"""Standard deviations by which noise alone does not make a plane brighter."""
_LIT, _AROUND = 0.1, 2
"""Planes with less than this share of the most light say nothing of it; neighbours on each side."""


@dataclass(frozen=True, slots=True)
class LevelErrors:
    """How far the levels of a restoration are from what was counted."""

    pedestal: float = 0.0
    """Counts by which the darker half of the volume was counted brighter than restored."""
    flicker: float = 0.0
    """Share of the light by which planes were counted brighter or darker than their neighbours; 0: not beyond noise."""
    planes: tuple[int, ...] = ()
    """Those that differ from their neighbours."""


def gross_error(raw: NDArray[Any], predicted: Array, camera: CameraModel) -> float:
    """Return the counts that bring a prediction to about the level of what was counted; mostly 0.

    Parameters
    ----------
    raw, predicted : (z, y, x) counts, without planes that did not come
    """
    off = np.subtract(raw[:, ::4, ::4], predicted[:, ::4, ::4], dtype=np.float32)
    if camera.pattern is not None:
        off -= np.nan_to_num(camera.pattern[::4, ::4])
    middle = float(np.median(off))
    return middle if abs(middle) > _GROSS * math.sqrt(camera.dark_variance) else 0.0


def levelled(left: Residual) -> tuple[Residual, LevelErrors]:
    """Return a residual without its errors of level, and these."""
    weighted, weight, signal = (array[:, ::2, ::2] for array in (left.weighted, left.weight, left.signal))
    dark = signal <= np.median(signal)
    total = float(weight[dark].sum())
    pedestal = float(weighted[dark].sum()) / total if total > 0 else 0.0
    tone = _tone(weighted - weight * np.float32(pedestal), weight, signal, pedestal)
    toned = _by_light(left.signal, tone)
    flat = less(left, toned + np.float32(pedestal))
    excess = _excess(flat.weighted[:, ::2, ::2], weight, signal)
    odd = np.flatnonzero(excess)
    off = LevelErrors(pedestal)
    if len(odd):
        flat = less(flat, left.signal * excess[:, np.newaxis, np.newaxis])
        off = LevelErrors(pedestal, float(np.abs(excess).max()), tuple(int(z) for z in odd))
    toned *= left.weight
    toned += flat.weighted
    return replace(flat, untoned=toned), off


def cautions(off: LevelErrors, range_counts: float) -> list[str]:
    """Return what to say of errors of level, in words."""
    said = []
    if abs(off.pedestal) > _PEDESTAL * range_counts:
        which = "brighter" if off.pedestal > 0 else "darker"
        said.append(
            f"dark places were counted {abs(off.pedestal):.1f} counts {which} than they are restored: the camera's "
            "offset or the background is not that of training"
        )
    if off.planes:
        listed = ", ".join(str(z + 1) for z in off.planes[:6]) + (", ..." if len(off.planes) > 6 else "")
        who = f"plane {listed} differs from its" if len(off.planes) == 1 else f"planes {listed} differ from their"
        said.append(
            f"the light flickers: {who} neighbours by up to {off.flicker:.0%}; do not compare the brightness of planes"
        )
    return said


def _tone(weighted: Array, weight: Array, signal: Array, pedestal: float) -> list[tuple[float, float]]:
    """Return levels of light, counts, and by how many counts squares of each were counted brighter than restored.

    The first is (0, 0). Squares that are as bright are many, an object among them is one: it hardly changes their mean.

    Parameters
    ----------
    weighted : without the pedestal, which is one of the dark: bright squares may have none
    """
    step = 2 if signal.size > _ENOUGH_SQUARES else 1
    flat, says, light = (np.ascontiguousarray(array[::step]).ravel() for array in (weighted, weight, signal))
    top = float(np.quantile(light, _BRIGHTEST))
    shown, found = says * light, [(0.0, 0.0)]
    for low, high in itertools.pairwise((*(share * top for share in _KNOTS), np.inf)):
        lit = ((light > low) & (light <= high)).astype(np.float32)
        total = float(np.dot(says, lit))
        if lit.sum() < _FEWEST_LIT or total <= 0:
            continue
        level, off = float(np.dot(shown, lit)) / total, float(np.dot(flat, lit)) / total
        least, most = min(-pedestal, 0.0) - _TONE * level, max(-pedestal, 0.0) + _TONE * level
        found.append((level, min(max(off, least), most)))
    return found


def _by_light(signal: Array, tone: list[tuple[float, float]]) -> Array:
    """Return the counts by which squares are off, from their light; linear between the levels."""
    off = np.zeros_like(signal)
    part = np.empty_like(signal)
    for (low, before), (high, after) in itertools.pairwise(tone):
        np.clip(signal, np.float32(low), np.float32(high), out=part)
        part -= np.float32(low)
        part *= np.float32((after - before) / max(high - low, 1e-6))
        off += part
    return off


def _excess(weighted: Array, weight: Array, signal: Array) -> Array:
    """Return by which share of its light each plane is brighter than its neighbours; 0 where that can be noise."""
    of_rows = np.einsum("zyx,zyx->zy", weighted, signal)
    weight_of_rows = np.einsum("zyx,zyx,zyx->zy", weight, signal, signal)
    top, bottom = of_rows.sum(axis=1), weight_of_rows.sum(axis=1)
    lit = bottom > _LIT * bottom.max(initial=1e-9)
    gains = np.where(lit, top / np.maximum(bottom, np.float32(1e-9)), np.float32(np.nan))
    padded = np.pad(gains, _AROUND, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1)
    known = np.isfinite(windows).sum(axis=1) > _AROUND
    usual = np.where(known, np.nanmedian(np.where(known[:, np.newaxis], windows, 0), axis=1), gains)
    excess = np.where(lit, gains - usual, 0)
    is_between = np.isfinite(windows[:, :_AROUND]).all(axis=1) & np.isfinite(windows[:, _AROUND + 1 :]).all(axis=1)
    beyond = np.abs(excess) > np.where(is_between, _FLICKER, _FLICKER_AT_END)
    apart = np.square(of_rows - excess[:, np.newaxis] * weight_of_rows).sum(axis=1)  # rows are read with a noise, too
    sure = np.abs(excess) * bottom > _SURE * np.sqrt(np.maximum(bottom, apart))
    return np.asarray(np.where(beyond & sure, excess, 0), np.float32)
