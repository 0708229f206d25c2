"""Micro-Manager's own metadata: where a frame belongs, when it was taken.

In a hardware sequence the core's tags are strings, and ``ElapsedTime-ms`` is the same for every frame, so
times come from ``TimeReceivedByCore`` and numbers are always parsed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from care_live.errors import FrameError
from care_live.images import PlaneIndex
from care_live.recorded.recording import Stamp

_OWN_AXES = ("time", "channel", "camera", "z")
_MAX_COUNT = 1 << 31
"""Micro-Manager counts in 32 bits with a sign."""


class Places:
    """Turns Micro-Manager's axes into plane indices; names are numbered as planned, then as they come.

    Each camera has its own channels. Every axis that is neither time, channel, camera nor z (position, the row and
    column of a tile, a user's own) is part of the stage position's name.
    """

    def __init__(self, *, channels: Iterable[str] = (), positions: Iterable[str] = (), first_z: int = 0) -> None:
        self._channels = {name: i for i, name in enumerate(channels)}
        self._positions = {name: i for i, name in enumerate(positions)}
        self._first_z = first_z

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(self._channels) or ("default",)

    @property
    def positions(self) -> tuple[str, ...]:
        return tuple(self._positions) or ("default",)

    def index_of(self, axes: Mapping[str, Any]) -> PlaneIndex:
        """Return where a frame belongs.

        Raises
        ------
        FrameError
            Time or z is no count from 0.
        """
        return PlaneIndex(
            t=_count(axes, "time"),
            p=_number(self._positions, _position_name(axes)),
            c=_number(self._channels, _channel_name(axes)),
            z=_count(axes, "z", first=self._first_z),
        )


def _count(axes: Mapping[str, Any], axis: str, *, first: int = 0) -> int:
    try:
        count = int(axes.get(axis, first)) - first
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"axis {axis} is {axes[axis]!r}; wanted a count from 0") from error
    if not 0 <= count < _MAX_COUNT:
        raise FrameError(f"axis {axis} is {axes[axis]!r}; wanted a count from {first} to {first + _MAX_COUNT - 1}")
    return count


def _channel_name(axes: Mapping[str, Any]) -> str | int | None:
    """Return the channel; where several cameras look at once, with the label of the one that took the frame."""
    channel, camera = axes.get("channel"), axes.get("camera")
    if camera is None:
        return channel
    return str(camera) if channel is None else f"{channel} {camera}"


def camera_of(axes: Mapping[str, Any], tags: Mapping[str, Any]) -> str:
    """Return the label of the camera that took a frame, where several look at once; else an empty text."""
    if "camera" in axes:
        return str(axes["camera"])
    own, selected = tags.get("Camera"), tags.get("Core-Camera")
    return str(own) if own and selected and own != selected else ""


def _position_name(axes: Mapping[str, Any]) -> str | int | None:
    others = {axis: value for axis, value in axes.items() if axis not in _OWN_AXES}
    if set(others) <= {"position"}:
        return others.get("position")
    return " ".join(f"{axis}={others[axis]}" for axis in sorted(others))


def _number(names: dict[str, int], label: str | int | None) -> int:
    if label is None:
        label = next(iter(names), "default")
    if isinstance(label, int) and 0 <= label < len(names):
        return label  # Micro-Manager's own GUI counts; the names are in its summary
    return names.setdefault(str(label), len(names))


def core_time_us(tags: Mapping[str, Any]) -> int | None:
    """Return when a frame was received, microseconds since the epoch, or None.

    ``TimeReceivedByCore`` is local time. Where the window saves, ``ReceivedTime`` names its zone, after a space.
    """
    for name in ("TimeReceivedByCore", "ReceivedTime"):
        try:
            text = str(tags[name]).strip().replace(" +", "+").replace(" -", "-")
            return round(datetime.fromisoformat(text).timestamp() * 1e6)
        except (KeyError, ValueError, OverflowError, OSError):
            continue
    return None


def number_of(tags: Mapping[str, Any], *names: str) -> float | None:
    """Return the first of some tags that is a finite number, also where it is written as text."""
    for name in names:
        try:
            number = float(tags[name])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(number):
            return number
    return None


def stamp_of(tags: Mapping[str, Any]) -> Stamp:
    """Return what a frame's tags say about its time and exposure."""
    received = core_time_us(tags)
    elapsed_ms = number_of(tags, "ElapsedTime-ms")
    elapsed = received if received is not None else None if elapsed_ms is None else round(elapsed_ms * 1000)
    return Stamp(elapsed, received, number_of(tags, "Exposure", "Exposure-ms"))
