"""Frames, plans and ends come back from the tap's link as they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care_live.errors import ProtocolError
from care_live.images import Plan, RunEnded, RunStarted, SequenceEnded, VolumeKey
from care_live.source.receiver import Receiver
from care_live.wire import plans, tap_codec, tap_protocol
from care_live.wire.codec import record_of
from tests.make.tap_link import ENVELOPE, as_received, encoded_frame
from tests.make.tap_messages import frame, started_message


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_frame_comes_back_as_it_was(dtype: str) -> None:
    sent = frame(dtype=dtype)
    head, pixels = tap_protocol.decode_from_tap(encoded_frame(sent))
    assert isinstance(head, tap_protocol.FrameHead)
    assert pixels is not None
    back = tap_codec.frame_of(head, pixels, run_id="r", arrival=0, host_time_ns=head.host_time_ns + 1000)
    np.testing.assert_array_equal(back.pixels, sent.pixels)
    assert (back.pixels.dtype, back.pixels.flags.writeable) == (sent.pixels.dtype, False)
    assert back.host_time_ns == sent.host_time_ns + 1000
    for name in ("index", "core_time_us", "exposure_ms", "sequence_id", "camera_count"):
        assert getattr(back, name) == getattr(sent, name)


@given(
    stacks=st.dictionaries(
        st.builds(VolumeKey, st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)),
        st.sets(st.integers(0, 50), min_size=1).map(lambda z: tuple(sorted(z))),
        max_size=20,
    ),
    endless=st.booleans(),
)
@settings(deadline=None)
def test_a_plan_comes_back_as_it_was(stacks: dict[VolumeKey, tuple[int, ...]], endless: bool) -> None:
    plan = Plan(stacks, (480, 640), "uint8", (1.5, 0.2, 0.2), ("DAPI", "µ"), ("A1", "B2"), 2.5, endless)
    started = RunStarted("r", plan, {"objective": "60x", "nested": {"a": [1, 2]}})
    start, _ = tap_protocol.decode_from_tap(as_received(tap_codec.event_message(started, ENVELOPE, token="x")))
    assert isinstance(start, tap_protocol.TapStart)
    assert (plans.plan_of(start.plan), tap_codec.summary_of(start), start.token) == (plan, dict(started.summary), "x")


def test_ends_come_back_as_they_were() -> None:
    for event in (SequenceEnded(3, 10, 9, "lost"), RunEnded("stalled", "no frame", 5, 2)):
        head, _ = tap_protocol.decode_from_tap(as_received(tap_codec.event_message(event, ENVELOPE, token="")))
        taken = Receiver(run_id="r").take(started_message(), None, now_ns=0)
        assert isinstance(taken.event, RunStarted)
        if isinstance(head, tap_protocol.TapEnd):
            assert record_of(RunEnded, head) == event


def test_a_plan_that_no_daemon_takes_is_refused_where_it_is_made() -> None:
    stacks = {VolumeKey(t): (0,) for t in range(1_000_001)}
    with pytest.raises(ProtocolError, match="at most 1000000"):
        tap_codec.event_message(RunStarted("r", Plan(stacks, (6, 7))), ENVELOPE, token="")
