"""The demo's picture: ``raw | restored | uncertainty | truth``, middle plane over side view, with captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.imports import need

_CAPTIONS = ("raw", "restored", "uncertainty", "truth")
_BACKGROUND = np.array([17, 17, 20], np.uint8)
_GAP_PX, _CAPTION_PX = 4, 26


def picture_of(volumes: Sequence[NDArray[Any]]) -> Any:
    """Return the panels side by side under their captions, an image of Pillow.

    Parameters
    ----------
    volumes : raw, restored, Laplace scale and truth, each (z, y, x) of one shape

    Raises
    ------
    ConfigError
        Pillow is not installed.
    """
    image, draw, font = (need(f"PIL.{name}", extra="view") for name in ("Image", "ImageDraw", "ImageFont"))
    panels = [_panel(volume, _ramp(caption)) for volume, caption in zip(volumes, _CAPTIONS, strict=True)]
    pixels = _beside(panels)
    pixels = np.concatenate([np.broadcast_to(_BACKGROUND, (_CAPTION_PX, pixels.shape[1], 3)), pixels])
    picture = image.fromarray(pixels)
    pen = draw.Draw(picture)
    for i, caption in enumerate(_CAPTIONS):
        left = i * (volumes[0].shape[2] + _GAP_PX) + 4
        pen.text((left, 4), caption, fill=(220, 220, 225), font=font.load_default(14))
    return picture


def _ramp(caption: str) -> NDArray[np.float32]:
    """Return the colours of 256 levels, (256, 3) in 0..255: grey, or for uncertainty violet to yellow."""
    level = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    if caption != "uncertainty":
        return np.repeat(255 * level, 3, axis=1)
    stops = np.array([[13, 8, 45], [110, 28, 120], [220, 80, 70], [250, 225, 100]], np.float32)
    return np.stack([np.interp(level[:, 0], np.linspace(0, 1, len(stops)), stops[:, c]) for c in range(3)], axis=1)


def _panel(volume: NDArray[Any], ramp: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the middle plane of (z, y, x) over the maximum along y, (h, w, 3) uint8."""
    side = np.repeat(volume.max(axis=1), max(1, volume.shape[1] // (2 * volume.shape[0])), axis=0)
    middle = volume[len(volume) // 2]
    gap = np.broadcast_to(_BACKGROUND, (_GAP_PX, volume.shape[2], 3))
    return np.concatenate([_coloured(middle, ramp), gap, _coloured(side, ramp)])


def _coloured(plane: NDArray[Any], ramp: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(plane, (1.0, 99.7))
    level = np.clip((plane.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1)
    colours: NDArray[np.uint8] = ramp[(255 * level).astype(np.intp)].astype(np.uint8)
    return colours


def _beside(panels: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    gap = np.broadcast_to(_BACKGROUND, (panels[0].shape[0], _GAP_PX, 3))
    row = [part for panel in panels for part in (panel, gap)][:-1]
    return np.concatenate(row, axis=1)
