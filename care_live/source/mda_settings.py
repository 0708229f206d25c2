"""Which planes Micro-Manager's window has announced: its settings of the acquisition, as they stand in the summary.

The window's engine (micro-manager, ``acqEngine``) leaves out a channel's time points by its *skip*, and all but the
middle slice of a channel without z stack; the numbers of planes in the summary don't say so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from care_live.images import PlaneIndex, VolumeKey
from care_live.recorded.recording import every_index, stacks_of
from care_live.recorded.tags import number_of

AXES = ("time", "position", "channel", "z")
_MAX_PLANNED = 1 << 20
"""Planes; a plan of more is not held in memory."""


def intended(summary: Mapping[str, Any]) -> dict[VolumeKey, tuple[int, ...]]:
    """Return the stacks that Micro-Manager's summary announces; empty where it announces none, or too many.

    A time-lapse that its user means to stop by hand is announced as some hundred thousand time points.
    """
    n = {axis[0].upper(): count for axis, count in announced(summary).items()}
    if not n or math.prod(n.values()) > _MAX_PLANNED:
        return {}
    channels = channel_settings(summary, n.get("C", 1))
    return stacks_of(index for index in every_index(n) if is_acquired(index, channels, n.get("Z", 1)))


def announced(summary: Mapping[str, Any]) -> dict[str, int]:
    """Return the length of each axis that the summary announces; empty: it announces none."""
    wanted = summary.get("IntendedDimensions")
    if not isinstance(wanted, dict):
        return {}
    counts = {axis: number_of(wanted, axis) or 0.0 for axis in AXES}
    return {axis: int(count) for axis, count in counts.items() if count >= 1}


def channel_settings(summary: Mapping[str, Any], n_channels: int) -> list[dict[str, Any]]:
    """Return the settings of each channel; empty where they are not known one by one.

    Several cameras have a channel each for every channel of the settings; then these are not known.
    """
    try:
        settings = json.loads(str(summary.get("MdaSettings") or "{}"))
        channels = settings["channels"] if settings["useChannels"] else []
        used = [one for one in channels if one["useChannel"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []
    return used if len(used) == n_channels else []


def is_acquired(index: PlaneIndex, channels: list[dict[str, Any]], n_z: int) -> bool:
    """Tell whether the window's engine acquires a plane of the grid."""
    if not channels:
        return True
    own = channels[index.c]
    skip = int(number_of(own, "skipFactorFrame") or 0)
    return index.t % (skip + 1) == 0 and (own.get("doZStack", True) is not False or index.z == n_z // 2)
