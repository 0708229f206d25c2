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
from care_live.images import REFERENCE, PlaneIndex
from care_live.recorded.recording import Stamp

_OWN_AXES = ("time", "channel", "camera", "z", "reference")
_FIRST_EXPOSURE = (None, 0, "0", "", False)
"""Values of the axis ``reference`` of planes that are none."""
_MAX_COUNT = 1 << 31
"""Micro-Manager counts in 32 bits with a sign."""


class Places:
    """Turns Micro-Manager's axes into plane indices; names are numbered as planned, then as they come.

    Each camera has its own channels, and so have second exposures at full light, by a channel's name or by the axis
    ``reference``. Every axis that is neither time, channel, camera, z nor reference (position, the row and column of a
    tile, a user's own) is part of the stage position's name.
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
            c=_number(self._channels, self._channel_name(axes)),
            z=_count(axes, "z", first=self._first_z),
        )

    def _channel_name(self, axes: Mapping[str, Any]) -> str | int | None:
        """Return the channel of a plane, its camera's label behind it; of a reference, with the ending that says so."""
        channel, camera = axes.get("channel"), axes.get("camera")
        if channel is None and camera is not None:
            channel, camera = str(camera), None
        if _is_second(axes) and not str(channel).endswith(REFERENCE):
            channel = f"{self._name_of(channel)}{REFERENCE}"
        return channel if camera is None else f"{channel} {camera}"

    def _name_of(self, channel: str | int | None) -> str:
        """Return the name of a channel that a plane gives by name, by number, or not at all."""
        if channel is None:
            self._channels.setdefault(self.channels[0], 0)  # planes that name none get the first one
        names = self.channels
        number = channel if isinstance(channel, int) else 0 if channel is None else -1
        return names[number] if 0 <= number < len(names) else str(channel)


def is_reference(axes: Mapping[str, Any]) -> bool:
    """Tell whether these axes are of a plane that is exposed a second time, at full light."""
    return _is_second(axes) or str(axes.get("channel", "")).endswith(REFERENCE)


def _is_second(axes: Mapping[str, Any]) -> bool:
    return axes.get("reference") not in _FIRST_EXPOSURE


def _count(axes: Mapping[str, Any], axis: str, *, first: int = 0) -> int:
    try:
        count = int(axes.get(axis, first)) - first
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"axis {axis} is {axes[axis]!r}; wanted a count from 0") from error
    if not 0 <= count < _MAX_COUNT:
        raise FrameError(f"axis {axis} is {axes[axis]!r}; wanted a count from {first} to {first + _MAX_COUNT - 1}")
    return count


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
