"""What a network's good restorations look like to the trust room, measured on recordings and kept in its card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from care_live.model.card import ModelCard
from care_live.restore.engine import Engine
from care_live.training.inference import as_volume
from care_live.trust import limits_fit as limits


def with_limits(card: ModelCard, engine: Engine, raws: Iterable[NDArray[Any]]) -> ModelCard:
    """Return a card with evidence limits and domain features; unchanged where too few volumes show them.

    Parameters
    ----------
    engine : of the network, a range of its own for every volume
    raws : (c, z, y, x) counts of the kind that the network is made for, which it restores well
    """
    seen = [one for raw in raws for one in _looked_at(card, engine, raw)]
    if len(seen) < limits.ENOUGH_VOLUMES:
        return card
    return _with_features(card, seen).model_copy(update={"evidence": limits.limits_of(seen, card.evidence)})


def with_features(card: ModelCard, engine: Engine, raws: Iterable[NDArray[Any]], *, origin: str = "") -> ModelCard:
    """Return a card with domain features alone: how well the network restores these volumes is not known.

    Parameters
    ----------
    origin : where the volumes are from, in words
    """
    return _with_features(card, [one for raw in raws for one in _looked_at(card, engine, raw)], origin)


def _with_features(card: ModelCard, seen: Sequence[limits.Harmless], origin: str = "") -> ModelCard:
    found = limits.domain_of(seen)
    if found is None:
        return card
    training = card.training.model_copy(update={"features": found.model_copy(update={"origin": origin})})
    return card.model_copy(update={"training": training})


def _looked_at(card: ModelCard, engine: Engine, raw: NDArray[Any]) -> list[limits.Harmless]:
    size_um = card.voxel_size_um or (1.0, 1.0, 1.0)
    stack = raw if raw.ndim == 4 else raw[:, np.newaxis]
    volumes = [replace(as_volume(channel, c), voxel_size_um=size_um) for c, channel in enumerate(stack)]
    return [one for result in engine.restore(volumes) if (one := limits.look_at(result, card)) is not None]
