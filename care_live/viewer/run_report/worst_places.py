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
from care_live.viewer.run_report.run_facts import RunFacts

_N_SHOWN = 6
_N_LOOKED_AT = 24
_MAX_PX = 320


@dataclass(frozen=True, slots=True)
class DoubtfulPlane:
    """One plane of one volume, drawn."""

    key: VolumeKey
    z: int
    caption: str
    pictures: tuple[tuple[str, str], ...]
    """(title, data URI of a PNG)."""


def worst_places(reader: RunReader, facts: RunFacts) -> list[DoubtfulPlane]:
    """Draw the volumes that are in trouble, then those in which the members of the network disagree most.

    Only an even sample of a long run is looked at for disagreement.
    """
    reasons: dict[VolumeKey, str] = {}
    stored = set(reader.keys("raw"))
    for trouble in facts.troubles:
        if trouble.key in stored:
            reasons.setdefault(trouble.key, trouble.reason)
    chosen = list(reasons)[: _N_SHOWN // 2]
    for key, value in _most_disagreed(reader):
        if len(chosen) < _N_SHOWN and key not in chosen:
            reasons[key] = f"mean disagreement {value:.3f}, the highest of those looked at"
            chosen.append(key)
    if not chosen and (last := reader.keys("restored")[-1:]):
        chosen, reasons = last, {last[0]: "nothing stands out; the last restored volume"}
    return [_place(reader, key, reasons[key]) for key in chosen]


def _most_disagreed(reader: RunReader) -> list[tuple[VolumeKey, float]]:
    keys = reader.keys("disagreement")
    looked_at = keys[:: max(1, -(-len(keys) // _N_LOOKED_AT))]
    ranked = [
        (key, float(np.mean(pixels))) for key in looked_at if (pixels := _read(reader, "disagreement", key)) is not None
    ]
    return sorted(ranked, key=lambda pair: -pair[1])


def _place(reader: RunReader, key: VolumeKey, caption: str) -> DoubtfulPlane:
    products: tuple[Product, ...] = ("raw", "restored", "disagreement")
    maps = {name: pixels for name in products if (pixels := _read(reader, name, key)) is not None}
    doubtful = maps.get("disagreement", maps.get("restored"))
    z = 0 if doubtful is None else int(np.argmax(doubtful.mean(axis=(1, 2))))
    pictures = tuple((name, _png(volume[min(z, len(volume) - 1)], name)) for name, volume in maps.items())
    return DoubtfulPlane(key, z, caption, pictures)


def _read(reader: RunReader, product: Product, key: VolumeKey) -> NDArray[Any] | None:
    """Return a volume, or nothing where it is not stored or damaged: `care-live verify` says which are."""
    try:
        return reader.read(product, key)
    except StoreError:
        return None


def _png(plane: NDArray[Any], name: str) -> str:
    image = need("PIL.Image", extra="view")
    step = max(1, -(-max(plane.shape) // _MAX_PX))
    small = plane[::step, ::step].astype(np.float32)
    low, high = (0.0, 1.0) if name == "disagreement" else np.percentile(small, (1, 99.8))
    grey = np.clip((small - low) / max(high - low, 1e-9), 0, 1) * 255
    file = io.BytesIO()
    image.fromarray(grey.astype(np.uint8)).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
