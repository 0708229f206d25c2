"""Pictures of the volumes that deserve a second look: raw, restored and the members' disagreement, side by side."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.imports import need
from care_live.recorded.run_records import Product
from care_live.store import RunReader
from care_live.verdict import Doubt
from care_live.viewer.run_report.run_facts import RunFacts

_N_SHOWN = 6
_N_LOOKED_AT = 24
_MAX_PX = 320
_RING_PX = 10
_RING = (255, 80, 200)
"""A colour that no grey picture has."""


@dataclass(frozen=True, slots=True)
class DoubtfulPlane:
    """One plane of one volume, drawn."""

    key: VolumeKey
    z: int
    caption: str
    pictures: tuple[tuple[str, str], ...]
    """(title, data URI of a PNG)."""


def worst_places(reader: RunReader, facts: RunFacts) -> list[DoubtfulPlane]:
    """Draw the volumes that contradict the photons most, other troubles, and where the members disagree most.

    Only an even sample of a long run is looked at for disagreement.
    """
    reasons: dict[VolumeKey, str] = {}
    stored, doubted = set(reader.keys("raw")), _doubted(reader)
    for trouble in sorted(facts.troubles, key=lambda one: -doubted[one.key].sigmas if one.key in doubted else 0.0):
        if trouble.key in stored:
            reasons.setdefault(trouble.key, trouble.reason)
    chosen = list(reasons)[: _N_SHOWN - 2]
    for key, value in _most_disagreed(reader):
        if len(chosen) < _N_SHOWN and key not in chosen:
            reasons[key] = f"mean disagreement {value:.3f}, the highest of those looked at"
            chosen.append(key)
    if not chosen and (last := reader.keys("restored")[-1:]):
        chosen, reasons = last, {last[0]: "nothing stands out; the last restored volume"}
    return [_place(reader, key, reasons[key], doubted.get(key)) for key in chosen]


def _doubted(reader: RunReader) -> dict[VolumeKey, Doubt]:
    """Return the worst place of each volume that contradicts the photons."""
    verdicts = {key: reader.restoration(key).trust for key in reader.keys("restored")}
    return {key: trust.doubts[0] for key, trust in verdicts.items() if trust is not None and trust.doubts}


def _most_disagreed(reader: RunReader) -> list[tuple[VolumeKey, float]]:
    keys = reader.keys("disagreement")
    looked_at = keys[:: max(1, -(-len(keys) // _N_LOOKED_AT))]
    ranked = [
        (key, float(np.mean(pixels))) for key in looked_at if (pixels := _read(reader, "disagreement", key)) is not None
    ]
    return sorted(ranked, key=lambda pair: -pair[1])


def _place(reader: RunReader, key: VolumeKey, caption: str, doubt: Doubt | None) -> DoubtfulPlane:
    """Draw the plane of the worst place, marked; else the one in which the members disagree most, or the brightest."""
    products: tuple[Product, ...] = ("raw", "restored", "disagreement")
    maps = {name: pixels for name in products if (pixels := _read(reader, name, key)) is not None}
    doubtful = maps.get("disagreement", maps.get("restored"))
    z = 0 if doubtful is None else int(np.argmax(doubtful.mean(axis=(1, 2))))
    z, place = (z, None) if doubt is None else (doubt.place_px[0], doubt.place_px[1:])
    pictures = tuple((name, _png(volume[min(z, len(volume) - 1)], name, place)) for name, volume in maps.items())
    return DoubtfulPlane(key, z, caption, pictures)


def _read(reader: RunReader, product: Product, key: VolumeKey) -> NDArray[Any] | None:
    """Return a volume, or nothing where it is not stored or damaged: `care-live verify` lists those."""
    try:
        return reader.read(product, key)
    except StoreError:
        return None


def _png(plane: NDArray[Any], name: str, place_px: tuple[int, int] | None) -> str:
    """Return a grey picture as a data URI, with a ring around a place (y, x)."""
    image, draw = need("PIL.Image", extra="view"), need("PIL.ImageDraw", extra="view")
    step = max(1, -(-max(plane.shape) // _MAX_PX))
    small = plane[::step, ::step].astype(np.float32)
    low, high = (0.0, 1.0) if name == "disagreement" else np.percentile(small, (1, 99.8))
    grey = np.clip((small - low) / max(high - low, 1e-9), 0, 1) * 255
    picture = image.fromarray(grey.astype(np.uint8))
    if place_px is not None:
        y, x = (at // step for at in place_px)
        picture = picture.convert("RGB")
        draw.Draw(picture).ellipse((x - _RING_PX, y - _RING_PX, x + _RING_PX, y + _RING_PX), outline=_RING)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
