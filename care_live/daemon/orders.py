"""What an operator may order of a running daemon's inference, by POST."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from care_live.daemon.live_show import LiveShow
from care_live.daemon.worker_group import WorkerGroup
from care_live.errors import ConfigError
from care_live.source import MovesStage


def swap(restorer: WorkerGroup, order: Mapping[str, Any], interval_s: Callable[[], float | None]) -> str:
    """Try another network on the next volume and change to it between two volumes; return what happens next.

    Parameters
    ----------
    interval_s : gives the time from one time point to the next, of any position: planned, or as seen of late

    Raises
    ------
    CareLiveError
        No file is named, no such file exists, or no network restores the channel that is named.
    """
    model = Path(str(order.get("model", "")))
    if not _is_file(model):
        raise ConfigError(f"there is no model file {model} on the daemon's machine")
    slow, channel = bool(order.get("even_if_slow", False)), str(order.get("channel", ""))
    is_given_up = restorer.order_swap(model, channel, interval_s=interval_s, even_if_slow=slow)
    given_up = "the network on trial is given up; " if is_given_up else ""
    of = f" of {channel}" if channel else ""
    then = "after both have restored one volume: see care-live status"
    return f"{given_up}loading {model}; it replaces the present one{of} {then}"


def rollback(restorer: WorkerGroup) -> str:
    """Go back to the network before the last swap, or give up the one on trial; return that in words."""
    return restorer.rollback()


def keep(show: LiveShow | None, order: Mapping[str, Any]) -> str:
    """Write the last seconds of Live as a run; return that in words.

    Raises
    ------
    ConfigError
        The source shows no Live, or the order has no sensible number of seconds.
    SourceError
        Live has shown nothing within these seconds.
    """
    if show is None:
        raise ConfigError("this daemon's source shows no Live: there is nothing to keep")
    seconds = order.get("seconds", math.inf)
    if not isinstance(seconds, int | float) or not seconds > 0:
        raise ConfigError(f"seconds = {seconds!r}: wanted a positive number")
    return show.recent.keep(float(seconds))


def move(source: object, order: Mapping[str, Any]) -> str:
    """Move the virtual microscope, or let it expose; return that in words.

    Raises
    ------
    ConfigError
        The daemon has no virtual microscope in Live, or the order is invalid.
    """
    if not isinstance(source, MovesStage):
        raise ConfigError("this daemon drives no microscope in Live: set source.microscope of source.kind = 'live'")
    return source.move(order)


def _is_file(path: Path) -> bool:
    """Return whether there is such a file; there is none where no disk takes its name."""
    try:
        return path.is_file()
    except OSError:
        return False
