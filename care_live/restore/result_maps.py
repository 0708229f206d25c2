"""Which maps a result has, and their shapes: those of the network, and what is calculated of a whole volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from care_live.config import RestoreConfig
from care_live.maps import Head
from care_live.model.card import ModelCard
from care_live.restore.geometry import output_shape
from care_live.trust import evidence_map, forward

MapShape: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class ResultMaps:
    """What memory must be there for before a volume is restored."""

    card: ModelCard
    with_evidence: bool
    """Results are compared with the photons, and the network has no such map of its own."""

    @classmethod
    def of(cls, card: ModelCard, config: RestoreConfig, *, numbers: bool = False) -> ResultMaps:
        """Return what a network gives.

        Parameters
        ----------
        numbers : pixels are no camera counts
        """
        compared = config.evidence and not numbers and not forward.why_not(card)
        return cls(card, compared and evidence_map.HEAD not in card.heads)

    def shapes(self, raw: Sequence[int]) -> dict[Head, MapShape]:
        """Return (c_out, z, y, x) of each map of a raw volume (z, y, x)."""
        full = output_shape(self.card, raw)
        found: dict[Head, MapShape] = dict.fromkeys(self.card.heads, full)
        if self.with_evidence:
            found[evidence_map.HEAD] = (*full[:2], *evidence_map.grid(full[2], full[3]))
        return found
