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
    if len(raw) < _FEWEST_PLANES or min(raw.shape[1:]) < 3:
        return np.zeros(raw.shape[1:], np.float32)
    chosen = np.unique(np.linspace(0, len(raw) - 1, _N_PLANES).astype(int))
    least = raw[chosen].min(axis=0).astype(np.float32)
    beside = _beside(least)
    above = least - beside
    middle = float(np.median(above))
    sd = max(1.4826 * float(np.median(np.abs(above - middle))), 0.5)
    light = np.maximum(beside - np.float32(np.median(least)), 0)
    is_hot = above > _SURE * sd + _OF_LIGHT * light
    return np.where(is_hot, above / np.float32(sd), np.float32(0))


def _beside(least: Counts) -> Counts:
    """Return the third brightest of the eight neighbours of each pixel."""
    ny, nx = least.shape
    padded = np.pad(least, 1, mode="reflect")
    around = np.stack([padded[y : y + ny, x : x + nx] for y, x in 1 + _BESIDE_PX])
    return np.asarray(np.partition(around, -_BESIDE, axis=0)[-_BESIDE], np.float32)


def silenced(camera: CameraModel, hot: Counts) -> CameraModel:
    """Return a camera of which hot pixels, and what a network draws around the strong ones, say nothing.

    Parameters
    ----------
    hot : (y, x), see `hot_in`
    """
    if not hot.any():
        return camera
    pattern = np.zeros(hot.shape, np.float32) if camera.pattern is None else camera.pattern.copy()
    pattern[blind(hot)] = np.nan
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


def blind(hot: Counts) -> Mask:
    """Return the pixels (y, x) that say nothing: the hot ones, those beside, and where a network draws strong ones."""
    near, drawn = (largest(one[np.newaxis], (0, px, px))[0] for one, px in ((hot, 1), (hot, _DRAWN_PX)))
    return np.asarray((near > 0) | (drawn > _STRONG))
