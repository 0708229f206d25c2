"""A useq event in Micro-Manager's words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from care_live.source.useq_axes import CHANNEL, axes_and_height


def event(**changes: Any) -> Any:
    values = {"index": {}, "channel": None, "metadata": {}, "pos_name": None, "z_pos": None}
    return SimpleNamespace(**values | changes)


def test_what_an_event_does_not_name_is_the_first() -> None:
    assert axes_and_height(event(z_pos=3.5)) == ({"time": 0, "z": 0}, 3.5)


def test_positions_of_one_name_stay_apart() -> None:
    first, second = (axes_and_height(event(index={"p": p}, pos_name="well"))[0]["position"] for p in (0, 1))
    assert (first, second) == ("0 well", "1 well")
    assert axes_and_height(event(index={"p": 2}))[0]["position"] == "2"


def test_a_reference_belongs_to_the_channel_that_it_shows() -> None:
    full = SimpleNamespace(config="GFP full")
    assert axes_and_height(event(channel=full))[0]["channel"] == "GFP full"
    assert axes_and_height(event(channel=full, metadata={CHANNEL: "GFP"}))[0]["channel"] == "GFP"


def test_an_axis_of_the_users_own_is_kept() -> None:
    axes, _ = axes_and_height(event(index={"t": 4, "z": 2, "g": 1, "cam": 0, "reference": 1, "angle": 3}))
    assert axes == {"time": 4, "z": 2, "grid": 1, "reference": 1, "angle": 3}
