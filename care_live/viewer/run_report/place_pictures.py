"""Pictures of one plane for the report, as data URIs: grey, or in two colours, with rings around places."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.imports import need
from care_live.maps import MapKind
from care_live.verdict import Doubt

Rgb: TypeAlias = tuple[int, int, int]

INVENTED: Rgb = (255, 122, 26)
MISSING: Rgb = (92, 200, 255)
"""As on the page: colours that no grey picture has, apart for the colour-blind."""
_COLOURS: Mapping[str, Rgb] = {"invented": INVENTED, "missing": MISSING}
_UNKNOWN: Rgb = (255, 255, 255)
_MAX_PX = 320
_RING_PX = 9
_CLOSE_PX = 80
"""Side of a close-up, voxels."""
_DASH_DEG = 24


def whole(plane: NDArray[Any], kind: MapKind | None, doubt: Doubt | None) -> str:
    """Return a whole plane, made smaller by leaving pixels out, with a ring around a place."""
    step = max(1, -(-max(plane.shape) // _MAX_PX))
    return _png(_coloured(plane[::step, ::step], kind), 1 / step, doubt)


def close(plane: NDArray[Any], kind: MapKind | None, doubt: Doubt) -> str:
    """Return the surroundings of a place, enlarged, grey between the percentiles of the whole plane."""
    _, y, x = doubt.place_px
    first = [min(max(at - _CLOSE_PX // 2, 0), max(n - _CLOSE_PX, 0)) for at, n in zip((y, x), plane.shape, strict=True)]
    cut = _coloured(plane, kind)[first[0] : first[0] + _CLOSE_PX, first[1] : first[1] + _CLOSE_PX]
    return _png(cut, max(1, _MAX_PX // max(cut.shape)), doubt, origin=(first[0], first[1]))


def _coloured(plane: NDArray[Any], kind: MapKind | None) -> NDArray[np.uint8]:
    """Return a plane (y, x) as (y, x, 3): two colours for a map with two sides, else grey."""
    values = plane.astype(np.float32)
    limits = None if kind is None else kind.limits
    if limits is not None and limits[0] < 0:
        share = np.clip(values / limits[1], -1, 1)[..., np.newaxis]
        return np.asarray(np.abs(share) * np.where(share < 0, INVENTED, MISSING), np.uint8)
    low, high = limits or np.percentile(values, (1, 99.8))
    grey = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255
    return np.repeat(grey.astype(np.uint8)[..., np.newaxis], 3, axis=2)


def _png(pixels: NDArray[np.uint8], zoom: float, doubt: Doubt | None, *, origin: tuple[int, int] = (0, 0)) -> str:
    """Return pixels as a picture.

    Parameters
    ----------
    zoom : pixels of the picture for one of the plane; below 1, `pixels` are that small already
    """
    image, draw = need("PIL.Image", extra="view"), need("PIL.ImageDraw", extra="view")
    picture = image.fromarray(pixels)
    if zoom > 1:
        picture = picture.resize((int(picture.width * zoom), int(picture.height * zoom)), image.Resampling.NEAREST)
    if doubt is not None:
        y, x = ((at - first) * zoom for at, first in zip(doubt.place_px[1:], origin, strict=True))
        _ring(draw.Draw(picture), (x, y), max(_RING_PX, round(_RING_PX * zoom)), doubt.kind)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _ring(pen: Any, at: tuple[float, float], radius: int, kind: str) -> None:
    """Draw a ring: whole, or broken where something is missing."""
    x, y = at
    box = (x - radius, y - radius, x + radius, y + radius)
    step, length = (_DASH_DEG, _DASH_DEG * 0.6) if kind == "missing" else (360, 360)
    for start in range(0, 360, step):
        pen.arc(box, start, start + length, fill=_COLOURS.get(kind, _UNKNOWN), width=2)
