"""Facts of a run and its network for a screen, from the plan and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from care_live.images import LIMITS
from care_live.model.card import ModelCard
from care_live.viewer.shown import RunInfo

NO_CARD: Mapping[str, Any] = {}


def describe(
    run_id: str,
    *,
    channels: tuple[str, ...] = (),
    positions: tuple[str, ...] = (),
    interval_s: float = 0.0,
    model: str = "",
    card: Mapping[str, Any] = NO_CARD,
    ended: str = "",
) -> RunInfo:
    """Describe a run; a card that this version cannot read costs only its own line.

    Parameters
    ----------
    card : the model card as decoded JSON; empty: unknown
    """
    read = read_card(card)
    return RunInfo(
        run_id=run_id,
        channels=channels,
        positions=positions,
        interval_s=interval_s,
        model=model or (read.name if read else ""),
        limits=read.limits if read else LIMITS,
        card=card_line(read) if read else "",
        calibration=read.calibration if read else None,
        ended=ended,
    )


def read_card(card: Mapping[str, Any]) -> ModelCard | None:
    try:
        return ModelCard.model_validate(dict(card)) if card else None
    except ValidationError:
        return None


def card_line(card: ModelCard) -> str:
    """Describe in one line what the network does and for which specimen it was made."""
    members = f"{card.members} networks" if card.members > 1 else ""
    specimen = f"trained on {card.training.specimen}" if card.training.specimen else ""
    parts = (card.task, members, specimen, card.network)
    return " · ".join(part for part in parts if part)
