"""What the evidence test finds in good restorations, and the limits that follow for a card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from care_live.images import Restored
from care_live.model.card import DomainFeatures, EvidenceLimits, ModelCard
from care_live.trust.examiner import Examiner
from care_live.trust.features import trained_on

ENOUGH_VOLUMES = 12
"""Fewer say too little about the rare: the defaults stay."""
_MARGIN = 1.25
"""Limits lie a quarter above the most that was seen."""
_TEXTURE_MARGIN = 1.15
"""What is left in bright places varies less from volume to volume."""


@dataclass(frozen=True, slots=True)
class Harmless:
    """What one good restoration shows."""

    worst: tuple[tuple[float, float], ...]
    """(invented, missing) at each scale, see `care_live.trust.evidence.Evidence`."""
    sd: tuple[float, ...]
    features: tuple[float, ...]
    n_voxels: int
    """Of the raw volume."""
    has_interval: bool = False
    """Whether the network says how sure it is: `worst` is then in units of that."""
    texture_sd: float = 0.0


def look_at(restored: Restored, card: ModelCard) -> Harmless | None:
    """Return what a restoration that is known to be good shows; None: it can't be compared with its photons."""
    examiner = Examiner(card)
    examiner.examine(restored)
    found = examiner.found
    has_interval, n_voxels = "laplace_scale" in restored.maps, restored.volume.pixels.size
    if found is None:
        return None
    return Harmless(found.worst, found.sd, examiner.features, n_voxels, has_interval, found.texture_sd)


def limits_of(seen: Sequence[Harmless], before: EvidenceLimits) -> EvidenceLimits:
    """Return limits a quarter above what good restorations show; what stood before where too few were seen.

    Limits are never narrower than the defaults: validation volumes are fewer than those of a run.
    """
    if len(seen) < ENOUGH_VOLUMES:
        return before
    least = EvidenceLimits()
    worst = np.max([one.worst for one in seen], axis=0) * _MARGIN  # (scale, sign)
    sd = np.max([one.sd for one in seen], axis=0) * _MARGIN
    of = "interval" if all(one.has_interval for one in seen) else "range"
    fields = {
        f"{kind}_of_{of}": np.maximum(worst[:, sign], getattr(least, f"{kind}_of_{of}")).round(4).tolist()
        for sign, kind in enumerate(("invented", "missing"))
    }
    texture_sd = max(one.texture_sd for one in seen) * _TEXTURE_MARGIN
    fields |= {"texture_sd": round(max(texture_sd, least.texture_sd), 2)}
    fields |= {"sd": np.maximum(sd, least.sd).round(2).tolist(), "n_volumes": len(seen)}
    return EvidenceLimits.model_validate(before.model_dump() | fields)


def domain_of(seen: Sequence[Harmless]) -> DomainFeatures | None:
    """Return what volumes of the kind that the network knows are like; None: too few were seen."""
    if len(seen) < ENOUGH_VOLUMES:
        return None
    return trained_on(np.array([one.features for one in seen]), np.array([one.n_voxels for one in seen]))
