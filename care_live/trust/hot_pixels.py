"""Pixels of a camera that count much more than those beside them in every plane: no light is as sharp, and as steady.

A network draws what it makes of them, so that a residual says nothing nearby; photon transfer takes them for noise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.trust.camera import CameraModel
from care_live.trust.smooth import largest

Counts: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]
PixelNumbers: TypeAlias = NDArray[np.intp]
Pixels2D: TypeAlias = tuple[PixelNumbers, ...]
"""Rows and columns."""

_N_PLANES, _FEWEST_PLANES = 8, 4
"""Of a volume, in all of which they are brighter; with fewer a fine structure may be, too."""
_SURE, _STRONG = 8.0, 30.0
"""Standard deviations of the darkest count of each pixel, from where on it is hot, and a network draws it as light."""
_OF_LIGHT = 1.0
"""Of the light beside it, which a hot pixel is above at least: light has noise of its own."""
_BESIDE = 3
"""The brightest neighbours but two: two hot pixels may touch."""
_BESIDE_PX = np.array([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)])
"""Steps (y, x) to the eight pixels beside."""
_DIRECT_PX = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])
_CORNER_PX = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])
_RING_PX = np.array([(y, x) for y in range(-3, 4) for x in range(-3, 4) if max(abs(y), abs(x)) == 3])
_FEWEST_PX = 7
_SAMPLED_PX = 65536
"""Show how much pixels differ from those beside."""
_WING, _WING_SD = 0.08, 1.2
"""Of a spot's height that its direct neighbours have at least, and standard deviations for their noise."""
_CORNER, _CORNER_SD = 0.3, 3.0
"""Of the product of two direct neighbours, in heights, that the pixel between them has at least: a spot falls off along
both axes alike, and three hot pixels at a corner leave it dark. Standard deviations for its noise."""
_DRAWN_PX = 4
"""From a strong one, to which a network draws light."""
_MANY = 3e-3
"""Share of the field from where on weak ones are said, too: together they look like structures."""


def hot_in(raw: NDArray[Any]) -> Counts:
    """Return by how many standard deviations each hot pixel is above its neighbours; 0 elsewhere.

    Parameters
    ----------
    raw : (z, y, x) counts, without planes that did not come

    Returns
    -------
    (y, x)
    """
    hot = np.zeros(raw.shape[1:], np.float32)
    if len(raw) < _FEWEST_PLANES or min(hot.shape) < _FEWEST_PX:
        return hot
    chosen = np.unique(np.linspace(0, len(raw) - 1, _N_PLANES).astype(int))
    least = raw[chosen].min(axis=0).astype(np.float32)
    every = max(1, round((least.size / _SAMPLED_PX) ** 0.5))
    sampled = np.nonzero(np.zeros_like(least[::every, ::every]) == 0)
    above = _above(least, (sampled[0] * every, sampled[1] * every))[0]
    middle = float(np.median(above))
    sd = max(1.4826 * float(np.median(np.abs(above - middle))), 0.5)
    places = np.nonzero(_above_direct(least) > _SURE * sd)  # few, and all that are above their brightest neighbours too
    above, beside = _above(least, places)
    light = np.maximum(beside - np.float32(np.median(least)), 0)
    is_hot = above > _SURE * sd + _OF_LIGHT * light
    near = np.zeros((1, *least.shape), np.float32)
    near[0][tuple(axis[is_hot] for axis in places)] = 1
    is_near = largest(near, (0, 1, 1))[0][places] > 0  # only what lies beside may be the middle of its spot
    is_hot[is_near] &= ~_in_spot(least, tuple(axis[is_near] for axis in places), sd)
    hot[tuple(axis[is_hot] for axis in places)] = above[is_hot] / np.float32(sd)
    return hot


def _above(least: Counts, places: Pixels2D) -> tuple[Counts, Counts]:
    """Return by how many counts pixels are above the third brightest of their eight neighbours, and these counts."""
    around = np.sort(_around(least, places, _BESIDE_PX), axis=0)[-_BESIDE]
    return least[places] - around, around


def _above_direct(least: Counts) -> Counts:
    """Return by how many counts each pixel is above the second darkest of its four direct neighbours."""
    padded = np.pad(least, 1, mode="reflect")
    up, down, left, right = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    darker = np.minimum(np.maximum(up, down), np.maximum(left, right))
    return np.asarray(least - np.minimum(darker, np.maximum(np.minimum(up, down), np.minimum(left, right))))


def _in_spot(least: Counts, places: Pixels2D, sd: float) -> NDArray[np.bool_]:
    """Tell whether pixels are in the middle of a spot, or beside: what an objective makes of a point is wider than one.

    Parameters
    ----------
    sd : counts, of a pixel above its neighbours
    """
    beyond = np.median(_around(least, places, _RING_PX), axis=0)
    height = least[places] - beyond
    up, down, left, right = _around(least, places, _DIRECT_PX) - beyond
    vertical, horizontal = np.maximum(up, down), np.maximum(left, right)
    corner = (_around(least, places, _CORNER_PX) - beyond)[2 * (down > up) + (right > left), np.arange(len(beyond))]
    is_wide = np.minimum(vertical, horizontal) > _WING * height + _WING_SD * np.float32(sd)  # dark on one axis: a row
    is_round = corner > _CORNER * vertical * horizontal / np.maximum(height, 1) - _CORNER_SD * np.float32(sd)
    middles = np.zeros((1, *least.shape), np.float32)
    middles[0][places] = is_wide & is_round
    return np.asarray(largest(middles, (0, 1, 1))[0][places] > 0)


def _around(least: Counts, places: Pixels2D, steps: NDArray[np.intp]) -> Counts:
    """Return (steps, places) the counts at some steps from each place; beyond the border those inside it."""
    rows, columns = (np.abs(axis + step[:, np.newaxis]) for axis, step in zip(places, steps.T, strict=True))
    rows, columns = (
        np.where(at >= n, 2 * (n - 1) - at, at) for at, n in zip((rows, columns), least.shape, strict=True)
    )
    return np.asarray(least[rows, columns], np.float32)


def silenced(camera: CameraModel, blind: Mask | None) -> CameraModel:
    """Return a camera of which some pixels (y, x) say nothing; None: all do."""
    if blind is None:
        return camera
    pattern = np.zeros(blind.shape, np.float32) if camera.pattern is None else camera.pattern.copy()
    pattern[blind] = np.nan
    return replace(camera, pattern=pattern)


def mended(raw: NDArray[Any], hot: Counts) -> NDArray[Any]:
    """Return counts with those of the pixels beside in the place of hot ones."""
    if not hot.any():
        return raw
    rows, columns = np.nonzero(hot)
    fine_rows, fine_columns = _fine_beside(hot, rows, columns)
    out = raw.copy()
    out[:, rows, columns] = raw[:, fine_rows, fine_columns]
    return out


def _fine_beside(hot: Counts, rows: PixelNumbers, columns: PixelNumbers) -> tuple[PixelNumbers, PixelNumbers]:
    """Return for each hot pixel one beside it that is not; not always on the same side, and no mean: it has less noise.

    A hot pixel between hot ones stays.
    """
    fine_rows, fine_columns, is_found = rows.copy(), columns.copy(), np.zeros(len(rows), np.bool_)
    for turn in range(len(_BESIDE_PX)):
        steps = _BESIDE_PX[(rows + columns + turn) % len(_BESIDE_PX)]
        y, x = rows + steps[:, 0], columns + steps[:, 1]
        is_fine = ~is_found & (y >= 0) & (y < hot.shape[0]) & (x >= 0) & (x < hot.shape[1])
        is_fine[is_fine] = hot[y[is_fine], x[is_fine]] == 0
        fine_rows[is_fine], fine_columns[is_fine] = y[is_fine], x[is_fine]
        is_found |= is_fine
    return fine_rows, fine_columns


def cautions(hot: Counts) -> list[str]:
    """Return what to say of hot pixels, in words: of strong ones, and of many."""
    n, n_strong = int(np.count_nonzero(hot)), int(np.count_nonzero(hot > _STRONG))
    if not n_strong and n < _MANY * hot.size:
        return []
    y, x = (int(at) for at in np.unravel_index(int(hot.argmax()), hot.shape))
    are = "1 pixel of the camera counts" if n == 1 else f"{n} pixels of the camera count"
    return [
        f"{are} more than the pixels beside in all planes, the most at y {y} x {x}: let the camera correct them, and "
        f"do not trust what is restored within {_DRAWN_PX} pixels of them"
    ]


def blind_pixels(hot: Counts) -> Mask | None:
    """Return the pixels (y, x) that say nothing: hot ones, and those near them; None: there are none."""
    if not hot.any():
        return None
    near, drawn = (largest(one[np.newaxis], (0, px, px))[0] for one, px in ((hot, 1), (hot, _DRAWN_PX)))
    return np.asarray((near > 0) | (drawn > _STRONG))
