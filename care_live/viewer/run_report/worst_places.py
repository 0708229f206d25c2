"""Pictures of the places that deserve a second look: raw, restored, and the map that says why, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.maps import BY_FOLDER
from care_live.recorded.run_records import StoredProduct
from care_live.store import RunReader
from care_live.verdict import Doubt
from care_live.viewer.run_report.place_pictures import close, whole
from care_live.viewer.run_report.run_facts import RunFacts

_N_SHOWN = 6
_N_LOOKED_AT = 24
_N_PLACES = 3
"""Of one volume."""


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
    for trouble in sorted(facts.troubles, key=lambda one: -doubted[one.key][0].sigmas if one.key in doubted else 0.0):
        if trouble.key in stored:
            reasons.setdefault(trouble.key, trouble.reason)
    chosen = list(reasons)[: _N_SHOWN - 2]
    for key, value in _most_disagreed(reader):
        if len(chosen) < _N_SHOWN and key not in chosen:
            reasons[key] = f"mean disagreement {value:.3f}, the highest of those looked at"
            chosen.append(key)
    if not chosen and (last := reader.keys("restored")[-1:]):
        chosen, reasons = last, {last[0]: "nothing stands out; the last restored volume"}
    return [place for key in chosen for place in _places(reader, key, reasons[key], doubted.get(key, ()))]


def _doubted(reader: RunReader) -> dict[VolumeKey, Sequence[Doubt]]:
    """Return the places of each volume that contradict the photons, the worst first."""
    verdicts = {key: reader.restoration(key).trust for key in reader.keys("restored")}
    return {key: trust.doubts for key, trust in verdicts.items() if trust is not None and trust.doubts}


def _most_disagreed(reader: RunReader) -> list[tuple[VolumeKey, float]]:
    keys = reader.keys("disagreement")
    looked_at = keys[:: max(1, -(-len(keys) // _N_LOOKED_AT))]
    ranked = [
        (key, float(np.mean(pixels))) for key in looked_at if (pixels := _read(reader, "disagreement", key)) is not None
    ]
    return sorted(ranked, key=lambda pair: -pair[1])


def _places(reader: RunReader, key: VolumeKey, reason: str, doubts: Sequence[Doubt]) -> list[DoubtfulPlane]:
    """Draw the worst places of a volume; where none is known the plane of most disagreement, or the brightest."""
    products: tuple[StoredProduct, ...] = ("raw", "restored", "disagreement", "evidence")
    maps = {name: pixels for name in products if (pixels := _read(reader, name, key)) is not None}
    if not doubts:
        doubtful = maps.get("disagreement", maps.get("restored", maps.get("raw")))
        z = 0 if doubtful is None else int(np.argmax(doubtful.mean(axis=(1, 2))))
        drawn = tuple(
            (name, whole(_plane(volume, z, maps), BY_FOLDER.get(name), None)) for name, volume in maps.items()
        )
        return [DoubtfulPlane(key, z, reason, drawn)]
    return [
        DoubtfulPlane(key, doubt.place_px[0], _caption(n, doubts, reason), _drawn(doubt, maps))
        for n, doubt in enumerate(doubts[:_N_PLACES])
    ]


def _caption(n: int, doubts: Sequence[Doubt], reason: str) -> str:
    doubt = doubts[n]
    _, y, x = doubt.place_px
    where = f"{doubt.kind}, {doubt.sigmas:.1f} times the noise, at y {y} x {x} (place {n + 1} of {len(doubts)})"
    return where if n else f"{where}: {reason}"


def _drawn(doubt: Doubt, maps: dict[StoredProduct, NDArray[Any]]) -> tuple[tuple[str, str], ...]:
    """Draw one place: where it lies in the whole plane, and close."""
    planes = {name: _plane(volume, doubt.place_px[0], maps) for name, volume in maps.items()}
    pictures = [("the whole plane, restored", whole(planes["restored"], None, doubt))] if "restored" in planes else []
    return (
        *pictures,
        *((f"{name}, close", close(plane, BY_FOLDER.get(name), doubt)) for name, plane in planes.items()),
    )


def _plane(volume: NDArray[Any], z: int, maps: dict[StoredProduct, NDArray[Any]]) -> NDArray[Any]:
    """Return one plane, as large as the largest of its volume: a map may have one number for several voxels."""
    plane = volume[min(z * len(volume) // max(len(maps.get("restored", volume)), 1), len(volume) - 1)]
    ny, nx = max(other.shape[1:] for other in maps.values())
    times = -(-ny // plane.shape[0])
    return np.repeat(np.repeat(plane, times, axis=0), times, axis=1)[:ny, :nx] if times > 1 else plane


def _read(reader: RunReader, product: StoredProduct, key: VolumeKey) -> NDArray[Any] | None:
    """Return a volume, or nothing where it is not stored or damaged: `care-live verify` lists those."""
    try:
        return reader.read(product, key)
    except StoreError:
        return None
