"""Messages that a tap sends."""

from __future__ import annotations

import numpy as np

from care_live.images import Frame, Plan, PlaneIndex, RunStarted, VolumeKey, read_only
from care_live.wire import tap_codec, tap_protocol


def frame(seed: int = 0, dtype: str = "uint16") -> Frame:
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 7)).astype(dtype)
    return Frame("r", 0, PlaneIndex(1, 2, 3, 4), read_only(pixels), 99, 1_700_000_000_000_000, 12.5, 7, 42)


def started_message(number: int = 0, tap: str = "ab" * 16, token: str = "") -> tap_protocol.FromTap:
    plan = Plan({VolumeKey(0): (0, 1)}, (6, 7))
    return tap_codec.event_message(RunStarted("r", plan), tap_codec.Envelope(tap, number, 0, 0), token=token)
