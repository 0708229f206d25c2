"""What an operator may order of a running daemon's inference, by POST."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from care_live.errors import ConfigError
from care_live.worker.client import RestoreProcess


def swap(restorer: RestoreProcess, order: Mapping[str, Any], interval_s: Callable[[], float | None]) -> str:
    """Try another network on the next volume and change to it between two volumes; return what happens next.

    Parameters
    ----------
    interval_s : gives the time from one time point to the next, of any position: planned, or as seen of late

    Raises
    ------
    CareLiveError
        No file is named, or no such file exists.
    """
    model = Path(str(order.get("model", "")))
    if not model.is_file():
        raise ConfigError(f"there is no model file {model} on the daemon's machine")
    slow = bool(order.get("even_if_slow", False))
    restorer.hot_swap.order(model, interval_s=interval_s, even_if_slow=slow)
    return f"loading {model}; it replaces the present one after both have restored one volume: see care-live status"


def rollback(restorer: RestoreProcess) -> str:
    """Go back to the network before the last swap; return its name in a sentence."""
    restorer.rollback()
    return f"back to {restorer.network.identity.name}"
