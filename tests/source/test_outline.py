"""The planes to come, as the events of an acquisition say."""

from __future__ import annotations

from care_live.images import REFERENCE, PlaneIndex, VolumeKey
from care_live.source.outline import Axes, Outline, outline_of


def stack(t: int, channel: str, n_z: int = 3) -> list[tuple[Axes, float | None]]:
    return [({"time": t, "channel": channel, "z": z}, 10.0 + 0.5 * z) for z in range(n_z)]


def outline(cameras: tuple[str, ...] = ()) -> Outline:
    return outline_of([*stack(0, "GFP"), *stack(0, "RFP"), *stack(1, "GFP"), *stack(1, "RFP")], cameras=cameras)


def test_planes_keep_the_order_of_the_events_and_the_step_is_that_of_the_first_stack() -> None:
    planned = outline()
    assert planned.order[:4] == (*(PlaneIndex(0, 0, 0, z) for z in range(3)), PlaneIndex(0, 0, 1, 0))
    assert planned.stacks[VolumeKey(1, 0, 1)] == (0, 1, 2)
    assert (planned.places.channels, planned.z_step_um) == (("GFP", "RFP"), 0.5)


def test_every_camera_gives_a_frame_for_every_event() -> None:
    planned = outline().seen_by(("left", "right"))
    assert len(planned.order) == 24
    assert planned.places.channels == ("GFP left", "GFP right", "RFP left", "RFP right")
    together = planned.planes_of([{"time": 1, "channel": "RFP", "z": 2}])
    assert together == {"left": [PlaneIndex(1, 0, 2, 2)], "right": [PlaneIndex(1, 0, 3, 2)]}


def test_references_have_the_last_channel_numbers() -> None:
    bright: list[tuple[Axes, float | None]] = [({"channel": f"GFP{REFERENCE}", "z": 1}, 10.5)]
    assert outline_of([*bright, *stack(0, "GFP"), *stack(0, "RFP")]).places.channels == (
        "GFP",
        "RFP",
        f"GFP{REFERENCE}",
    )


def test_what_is_stored_is_left_out_and_numbers_stay() -> None:
    stored = {VolumeKey(0, 0, 0), VolumeKey(0, 0, 1)}
    left = outline().without(stored)
    assert {index.t for index in left.order} == {1}
    assert left.places.channels == ("GFP", "RFP")
    assert outline().events_left(stored) == [False] * 6 + [True] * 6
    assert outline(("left", "right")).events_left({VolumeKey(0, 0, 0)}) == [True] * 12, "the right one is not stored"


def test_without_events_nothing_is_planned() -> None:
    assert (outline_of([]).order, outline_of([]).stacks, outline_of([]).z_step_um) == ((), {}, None)
