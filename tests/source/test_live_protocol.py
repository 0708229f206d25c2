"""Messages between a camera of Live and the daemon."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.errors import ProtocolError
from care_live.live_frame import LiveConditions, LiveFrame
from care_live.source import live_protocol


def test_a_frame_travels_with_its_conditions_and_by_this_machines_clock() -> None:
    conditions = LiveConditions(10.0, 0.5, "DAPI", z_um=3.5, frames_per_s=25.0, light_s=1.5, pixel_um=0.25)
    sent = LiveFrame(np.arange(12, dtype=np.uint16).reshape(3, 4), 7, host_time_ns=1_000, conditions=conditions)
    parts = [memoryview(part).cast("B") for part in live_protocol.frame_parts(sent, sent_ns=2_000)]
    came, offset_ns = live_protocol.read(parts, received_ns=12_000, offset_ns=None)
    assert offset_ns == 10_000
    assert came is not None
    assert (came.number, came.host_time_ns, came.conditions) == (7, 11_000, conditions)
    np.testing.assert_array_equal(came.pixels, sent.pixels)


@pytest.mark.parametrize("change", ["short", "no header", "other", "one part"])
def test_what_is_no_live_message_is_refused(change: str) -> None:
    frame = LiveFrame(np.zeros((3, 4), np.uint8), 1, host_time_ns=0)
    head, pixels = (memoryview(part).cast("B") for part in live_protocol.frame_parts(frame, sent_ns=0))
    parts = {
        "short": [head, pixels[:-1]],
        "no header": [],
        "other": [memoryview(b'{"type":"start","live_link":1}')],
        "one part": [head],
    }[change]
    with pytest.raises(ProtocolError):
        live_protocol.read(parts, received_ns=0, offset_ns=None)
