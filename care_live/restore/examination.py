"""Results compared with the photons that were counted: a verdict for each, and a map of where they contradict."""

from __future__ import annotations

import logging

import numpy as np
from msgspec.structs import replace

from care_live.images import Flag, Restored, read_only
from care_live.restore.repair import Maps
from care_live.trust import evidence_map
from care_live.trust.examiner import Examiner
from care_live.verdict import Trust

logger = logging.getLogger(__name__)

_EXAMINED_BYTES = 128 * 2**20
"""What the BLAS library may ask for beside the arrays; where it gets none, it ends the process and raises nothing."""


def examined(examiner: Examiner, restored: Restored, maps: Maps, c: int) -> Restored:
    """Say whether a result agrees with the photons, and where; what can't be examined is restored all the same.

    Parameters
    ----------
    maps : memory for every map, (c_out, z, y, x) each; that of the evidence is filled, where there is one
    c : output channel
    """
    try:
        _need_memory(_EXAMINED_BYTES + 16 * restored.volume.pixels.size)
        trust = examiner.examine(restored)
        with_map = _with_evidence(examiner, restored, maps, c)
    except (ArithmeticError, LookupError, MemoryError, ValueError) as error:  # whatever a strange volume does to it
        logger.warning("not_examined key=%s reason=%s", tuple(restored.key), error)
        return replace(restored, trust=Trust("amber", (f"not compared with the photons: {error}"[:200],)))
    strange: frozenset[Flag] = frozenset({"out_of_domain"}) if trust.is_out_of_domain else frozenset()
    return replace(with_map, trust=trust, flags=restored.flags | strange)


def _with_evidence(examiner: Examiner, restored: Restored, maps: Maps, c: int) -> Restored:
    """Return a result with the map of the evidence, where it could be compared with the photons."""
    head = evidence_map.HEAD
    if examiner.found is None or head in restored.maps or head not in maps:
        return restored
    evidence_map.draw(examiner.found, maps[head][c])
    return replace(restored, maps={**restored.maps, head: read_only(maps[head][c])})


def _need_memory(n_bytes: int) -> None:
    """Raise a MemoryError unless so much is free; nothing is touched, and all of it is given back."""
    np.empty(n_bytes, np.uint8)
