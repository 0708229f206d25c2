"""What a run says of a restored volume beyond the volume itself; live and offline alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from care_live.images import Restored
from care_live.model.card import ModelCard
from care_live.trust import domain
from care_live.trust.light import also_strange

if TYPE_CHECKING:
    from care_live.trust.references import References


def in_run(restored: Restored, card: ModelCard, references: References, channels: Sequence[str]) -> Restored:
    """Return a restored volume with the error that references measured, and what the names of its channels say.

    Parameters
    ----------
    card : of the network that restored it
    channels : names of the run
    """
    return named(references.judged(restored, card.calibration, card.verdict), card, channels)


def named(restored: Restored, card: ModelCard, channels: Sequence[str]) -> Restored:
    """Say of a restored volume where its channels have other names than those that the network was trained on."""
    strange = domain.of_channels(
        [channels[source.c] for source in restored.sources if source.c < len(channels)], card.channels_in
    )
    if not strange or restored.trust is None:
        return restored
    return replace(restored, trust=also_strange(restored.trust, strange), flags=restored.flags | {"out_of_domain"})
