"""Micro-Manager's metadata: where a frame belongs, when it was taken, and numbers that are written as text."""

from __future__ import annotations

import pytest

from care_live.errors import FrameError
from care_live.images import PlaneIndex
from care_live.recorded.tags import Places, camera_of, core_time_us, number_of, stamp_of


def test_names_are_numbered_as_planned_then_as_they_come() -> None:
    places = Places(channels=("DAPI", "GFP"))
    assert places.index_of({"time": 3, "channel": "GFP", "z": 2}) == PlaneIndex(3, 0, 1, 2)
    assert places.index_of({"channel": "RFP", "position": "B2"}) == PlaneIndex(0, 1, 2, 0)
    assert (places.channels, places.positions) == (("DAPI", "GFP", "RFP"), ("default", "B2"))


def test_each_camera_has_channels_of_its_own_and_other_axes_name_the_position() -> None:
    places = Places()
    first = places.index_of({"channel": "GFP", "camera": "left", "row": 1, "column": 0})
    second = places.index_of({"channel": "GFP", "camera": "right", "row": 1, "column": 0})
    assert (first.c, second.c, first.p, second.p) == (0, 1, 0, 0)
    assert (places.channels, places.positions) == (("GFP left", "GFP right"), ("column=0 row=1",))


@pytest.mark.parametrize("axes", [{"time": -1}, {"z": "top"}, {"time": 2**31}, {"z": float("inf")}])
def test_what_is_no_count_is_refused_with_its_axis(axes: dict[str, object]) -> None:
    with pytest.raises(FrameError, match=f"axis {next(iter(axes))} is"):
        Places().index_of(axes)


def test_the_first_number_that_is_one_is_taken() -> None:
    assert number_of({"a": "no", "b": "nan", "c": "1.5", "d": 2}, "a", "b", "c", "d") == 1.5
    assert number_of({}, "a") is None


def test_the_time_of_the_core_goes_before_the_elapsed_time() -> None:
    assert stamp_of({"ElapsedTime-ms": "12.5", "Exposure": "10"}).elapsed_us == 12_500
    named = {"ElapsedTime-ms": "12.5", "ReceivedTime": "2024-03-01 12:00:00.250 +0100"}
    assert core_time_us(named) == 1_709_290_800_250_000
    assert stamp_of(named).core_time_us == stamp_of(named).elapsed_us == 1_709_290_800_250_000
    assert core_time_us({"TimeReceivedByCore": "yesterday"}) is None


def test_a_camera_is_named_where_several_look() -> None:
    assert camera_of({"camera": "left"}, {}) == "left"
    assert camera_of({}, {"Camera": "left", "Core-Camera": "Multi"}) == "left"
    assert camera_of({}, {"Camera": "left", "Core-Camera": "left"}) == ""
