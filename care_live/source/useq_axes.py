"""Where a useq event belongs, in Micro-Manager's words."""

from __future__ import annotations

from typing import Any, TypeAlias

UseqEvent: TypeAlias = Any
"""useq.MDAEvent."""

CHANNEL = "care_live channel"
"""In an event's metadata: the channel that it shows with the light of another preset."""
_KNOWN_AXES = frozenset("tpgcz") | {"cam"}
"""useq's, and that of pymmcore-plus; any other one, a user's own, is part of the position's name."""


def axes_and_height(event: UseqEvent) -> tuple[dict[str, Any], float | None]:
    """Return a useq event's place in Micro-Manager's words, and its height in µm."""
    axes: dict[str, Any] = {"time": event.index.get("t", 0), "z": event.index.get("z", 0)}
    if event.channel is not None:
        axes["channel"] = event.metadata.get(CHANNEL, event.channel.config)
    if "p" in event.index:
        axes["position"] = f"{event.index['p']} {event.pos_name or ''}".strip()  # names may be doubled
    if "g" in event.index:
        axes["grid"] = event.index["g"]
    axes |= {str(name): number for name, number in event.index.items() if name not in _KNOWN_AXES}
    return axes, event.z_pos
