"""The link's messages: what goes in comes out, and nothing hostile raises anything but ProtocolError."""

from __future__ import annotations

import json
import random
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from care_live.errors import ProtocolError
from care_live.images import Plan, RunStarted, VolumeKey
from care_live.source.receiver import Receiver
from care_live.wire import plans, tap_codec, tap_protocol
from tests.make.tap_link import ENVELOPE, as_received, encoded_frame, nested
from tests.make.tap_messages import frame, started_message


def test_unknown_fields_are_ignored_and_other_versions_refused_by_name() -> None:
    header = json.loads(bytes(encoded_frame(frame())[0]))
    pixels = encoded_frame(frame())[1]
    tap_protocol.decode_from_tap([memoryview(json.dumps({**header, "new": 1}).encode()), pixels])
    with pytest.raises(ProtocolError, match="has link version 1"):
        tap_protocol.decode_from_tap([memoryview(json.dumps({**header, "link": 1}).encode()), pixels])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shape_px": [6, 8]}, "wanted 96"),
        ({"shape_px": [-6, -7]}, "header"),
        ({"shape_px": [65537, 7]}, "header"),
        ({"shape_px": [65536, 65536]}, "wanted 8589934592"),
        ({"dtype": "float32"}, "header"),
        ({"dtype": "|V2"}, "header"),
        ({"index": [0, 0, 0, -1]}, "header"),
        ({"index": [2**31, 0, 0, 0]}, "header"),
        ({"host_time_ns": -1}, "header"),
        ({"host_time_ns": 2**63}, "header"),
        ({"core_time_us": 2**60}, "header"),
        ({"exposure_ms": -1.0}, "header"),
        ({"exposure_ms": 1e300}, "header"),
        ({"sequence_id": 2**40}, "header"),
        ({"camera_count": -5}, "header"),
        ({"tap": "x" * 32}, "header"),
        ({"index": [0, 0, 0]}, "header"),
        ({"number": -1}, "header"),
        ({"number": 2**53}, "header"),
        ({"crc32c": 1}, "checksum"),
        ({"type": "evil"}, "header"),
    ],
)
def test_impossible_frames_are_refused(change: dict[str, Any], says: str) -> None:
    header, pixels = encoded_frame(frame())
    changed = memoryview(json.dumps({**json.loads(bytes(header)), **change}).encode())
    with pytest.raises(ProtocolError, match=says):
        tap_protocol.decode_from_tap([changed, pixels])


def test_mutated_messages_raise_only_our_own_error() -> None:
    dice = random.Random(1)
    whole = [bytes(part) for part in encoded_frame(frame())]
    start = [bytes(part) for part in as_received(started_message())]
    for _ in range(5000):
        parts = [bytearray(part) for part in dice.choice((whole, start))]
        for _ in range(dice.randint(1, 4)):
            part = dice.choice(parts)
            if part:
                part[dice.randrange(len(part))] = dice.randrange(256)
        parts = parts[: dice.randint(0, 3)] + [bytearray(b"x")] * (dice.random() < 0.1)
        try:
            message, _ = tap_protocol.decode_from_tap([memoryview(bytes(part)) for part in parts])
            if isinstance(message, tap_protocol.TapStart):
                plans.plan_of(message.plan), tap_codec.summary_of(message)
        except ProtocolError:
            pass


def test_a_bit_flip_in_the_pixels_is_always_caught() -> None:
    header, pixels = encoded_frame(frame())
    for bit in range(0, len(pixels) * 8, 7):
        broken = bytearray(pixels)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError, match="checksum"):
            tap_protocol.decode_from_tap([header, memoryview(bytes(broken))])


@pytest.mark.parametrize(
    "plan",
    [
        {"stacks": [], "groups": [{"p": [[0, 0]], "c": [[0, 0]], "z": [[0, 10_000_000]], "t": [[0, 0]]}]},
        {"stacks": [], "groups": [{"p": [[0, 0]], "c": [[0, 0]], "z": [[0, 2**52]], "t": [[0, 0]]}]},
        {"stacks": [], "groups": [{"p": [[0, 99_999]], "c": [[0, 99]], "z": [[0, 9]], "t": [[0, 2**40]]}]},
        {"stacks": [], "groups": [{"p": [[0, 0]], "c": [[0, 0]], "z": [[0, 65_535]], "t": [[0, 0]]}] * 1000},
        {"stacks": [{"p": 0, "c": 0, "z": [0], "t": [[0, 2**52]]}]},
        {"stacks": [{"p": 0, "c": 0, "z": [0], "t": [[5, 3]]}]},
        {"stacks": [{"p": -1, "c": 0, "z": [0], "t": [[0, 0]]}]},
        {"stacks": [[0, 0, 0, 10**9]]},
        {"positions": ["x"] * 70_000},
        {"channels": ["x"] * 2000},
        {"channels": ["x" * 129]},
        {"voxel_size_um": [0, 1, 1]},
        {"interval_s": -1},
        {"shape_px": [0, 0]},
    ],
    ids=lambda plan: str(plan)[:60],
)
def test_a_start_of_a_few_bytes_does_not_become_gigabytes(plan: dict[str, Any]) -> None:
    header = json.loads(bytes(as_received(started_message())[0]))
    hostile = memoryview(json.dumps({**header, "plan": {**header["plan"], **plan}}).encode())
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            message, _ = tap_protocol.decode_from_tap([hostile])
            Receiver(run_id="r").take(message, None, now_ns=0)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("summary", ["[" + "[]," * 500_000 + "[]]", "[]", "3", *map(nested, (40, 500, 2000))])
def test_a_hostile_summary_is_refused_before_it_is_decoded(summary: str) -> None:
    header = bytes(as_received(started_message())[0]).replace(b'"summary":{}', b'"summary":' + summary.encode())
    with pytest.raises(ProtocolError, match=r"summary|recursion"):
        message, _ = tap_protocol.decode_from_tap([memoryview(header)])
        Receiver(run_id="r").take(message, None, now_ns=0)


@pytest.mark.parametrize(
    "plan",
    [
        Plan({VolumeKey(0): (0, 1)}, (6, 7), channels=("c" * 400, "\ud800"), positions=("p" * 129,)),
        Plan({VolumeKey(0): (0, 1)}, (6, 7), voxel_size_um=(0.0, -1.0, float("nan")), interval_s=-3.0),
        Plan({}, (1, 1)),
    ],
    ids=["names", "sizes", "empty"],
)
def test_what_a_tap_sends_is_what_the_daemon_takes(plan: Plan) -> None:
    """A name that is too long, a size that is none: the run is worth more than its labels."""
    for summary in ({"x": object()}, {"x": "y" * 10**6}, {"ok": 1}):
        message = tap_codec.event_message(RunStarted("r", plan, summary), ENVELOPE, token="")
        start, _ = tap_protocol.decode_from_tap(as_received(message))
        taken = Receiver(run_id="r").take(start, None, now_ns=0).event
        assert isinstance(taken, RunStarted) and taken.plan.stacks == plan.stacks
        assert ("left_out" in taken.summary) != (taken.summary == {"ok": 1})


@pytest.mark.parametrize("wrong", [{"core_time_us": -5}, {"exposure_ms": float("inf")}, {"camera_count": -1}])
def test_a_frame_with_impossible_tags_travels_without_them(wrong: dict[str, Any]) -> None:
    sent = replace(frame(), **wrong)
    head, pixels = tap_protocol.decode_from_tap(encoded_frame(sent))
    assert isinstance(head, tap_protocol.FrameHead) and pixels is not None
    assert getattr(head, next(iter(wrong))) is None


def test_what_the_other_end_would_refuse_is_not_encoded() -> None:
    for wrong in (tap_protocol.Refuse(reason="x" * 1001), tap_protocol.Ack(next_number=-1, epoch=0)):
        with pytest.raises(ProtocolError):
            tap_protocol.encode(wrong)


def test_deep_and_huge_headers_are_refused() -> None:
    for header in (
        b'{"link":1,"a":' + b"[" * 100_000,
        b"[" * 100_000,
        b" " * (tap_protocol.HEADER_BYTES + 1),
        b"",
        b"\xff" * 9,
    ):
        with pytest.raises(ProtocolError):
            tap_protocol.decode_from_tap([memoryview(header)])
        with pytest.raises(ProtocolError):
            tap_protocol.decode_to_tap([memoryview(header)])
