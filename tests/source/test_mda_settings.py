"""The planes that Micro-Manager's window announces are those that its engine acquires."""

from __future__ import annotations

import json
from typing import Any

import pytest

from care_live.images import VolumeKey
from care_live.source.mda_settings import intended


def summary(*channels: dict[str, Any], n_channels: int | None = None) -> dict[str, Any]:
    settings = {"useChannels": bool(channels), "channels": [{"useChannel": True, **one} for one in channels]}
    counts = {"time": 3, "position": 1, "channel": n_channels or len(channels) or 1, "z": 4}
    return {"IntendedDimensions": counts, "MdaSettings": json.dumps(settings)}


def test_a_skipped_time_point_and_a_channel_without_stack_are_not_planned() -> None:
    planned = intended(summary({"doZStack": True, "skipFactorFrame": 0}, {"doZStack": False, "skipFactorFrame": 1}))
    assert planned == {
        **{VolumeKey(t, 0, 0): (0, 1, 2, 3) for t in range(3)},
        VolumeKey(0, 0, 1): (2,),
        VolumeKey(2, 0, 1): (2,),
    }


@pytest.mark.parametrize(
    "given",
    [
        summary(),
        summary({"skipFactorFrame": 1}, n_channels=2),  # two cameras: each has a channel of its own
        {**summary(), "MdaSettings": "{"},
        {**summary(), "MdaSettings": '{"useChannels": true, "channels": 3}'},
    ],
    ids=["no channels", "two cameras", "no JSON", "no list"],
)
def test_without_settings_of_each_channel_the_whole_grid_is_planned(given: dict[str, Any]) -> None:
    n_channels = given["IntendedDimensions"]["channel"]
    assert intended(given) == {VolumeKey(t, 0, c): (0, 1, 2, 3) for t in range(3) for c in range(n_channels)}


@pytest.mark.parametrize("time", [0, 400_000_000], ids=["none", "till it is stopped"])
def test_what_is_not_known_or_has_no_end_is_not_planned(time: int) -> None:
    assert intended({"IntendedDimensions": {"time": time} if time else None}) == {}
