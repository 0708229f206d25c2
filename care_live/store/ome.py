"""The metadata of OME-Zarr 0.5 images, as plain dictionaries, and the shape of their chunks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.images import LIMITS
from care_live.maps import BY_FOLDER
from care_live.recorded.run_records import StoredProduct

Window: TypeAlias = tuple[float, float]
"""Intensities that a viewer shows as black and as white."""

AXES = (
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
)
_CHUNK_PX = (8, 512, 512)
_COARSEST_PX = 512
_COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF4040")
_MEANINGS: Mapping[StoredProduct, str] = {
    "raw": "camera counts as recorded, lossless",
    **{folder: f"{kind.meaning}; {LIMITS}" for folder, kind in BY_FOLDER.items()},
}


def image(
    name: str,
    *,
    voxel_size_um: tuple[float, float, float],
    interval_s: float,
    channels: Sequence[dict[str, Any]],
    n_coarser: int = 0,
) -> dict[str, Any]:
    """Return the ``ome`` attribute of an image: array ``0``, and those of coarser levels."""
    datasets = [_dataset(level, voxel_size_um, interval_s) for level in range(1 + n_coarser)]
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": name,
                "axes": [dict(axis) for axis in AXES],
                "datasets": datasets,
            }
        ],
        "omero": {"channels": list(channels), "rdefs": {"model": "color", "defaultT": 0, "defaultZ": 0}},
    }


def _dataset(level: int, voxel_size_um: tuple[float, float, float], interval_s: float) -> dict[str, Any]:
    """Return where one level lies: its first pixel is in the middle of those that it stands for."""
    z_um, y_um, x_um = voxel_size_um
    side = 2**level
    placed: list[dict[str, Any]] = [
        {"type": "scale", "scale": [interval_s or 1.0, 1.0, z_um, y_um * side, x_um * side]}
    ]
    if level:
        shift = [0.0, 0.0, 0.0, y_um * (side - 1) / 2, x_um * (side - 1) / 2]
        placed.append({"type": "translation", "translation": shift})
    return {"path": str(level), "coordinateTransformations": placed}


def n_coarser(shape_px: tuple[int, int]) -> int:
    """Return how many levels above the full resolution it takes until y and x have at most 512 pixels."""
    levels = 0
    while max(shape_px) > _COARSEST_PX << levels:
        levels += 1
    return levels


def channel(label: str, number: int, *, window: Window, limits: Window) -> dict[str, Any]:
    """Return one channel of the ``omero`` attribute."""
    return {
        "label": label,
        "color": _COLOURS[number % len(_COLOURS)],
        "active": True,
        "window": {"min": limits[0], "max": limits[1], "start": window[0], "end": window[1]},
    }


def meaning(product: StoredProduct) -> dict[str, Any]:
    """Return what a person who finds this group must know."""
    described: dict[str, Any] = {"product": product, "meaning": _MEANINGS[product]}
    return described if product == "raw" else described | {"limits": LIMITS}


def window(product: StoredProduct, pixels: NDArray[Any]) -> Window:
    """Return a contrast that neither a dead pixel nor an empty corner spoils, from every few pixels."""
    kind = BY_FOLDER.get(product)
    if kind is not None and kind.limits is not None:
        return kind.limits
    step = max(1, math.isqrt(pixels[0].size // 2**14))
    low, high = np.percentile(pixels[:, ::step, ::step], (1.0, 99.8))
    return (0.0 if kind is not None and not kind.may_be_negative else float(low)), max(float(high), float(low) + 1e-3)


def limits(dtype: str, window: Window) -> Window:
    """Return the range in which a viewer lets its contrast be set."""
    if np.dtype(dtype).kind == "u":
        return 0.0, float(np.iinfo(dtype).max)
    return min(0.0, window[0]), 4.0 * max(window[1], 0.25)


def chunk_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Cut a (z, y, x) volume into equal chunks near 8x512x512, so that little of the last ones is padding."""
    z, y, x = (math.ceil(size / math.ceil(size / chunk)) for size, chunk in zip(shape, _CHUNK_PX, strict=True))
    return z, y, x


def shard_shape(shape: tuple[int, int, int], chunk: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return whole chunks that hold one volume."""
    z, y, x = (chunk_px * math.ceil(size / chunk_px) for size, chunk_px in zip(shape, chunk, strict=True))
    return z, y, x
