"""Messages of the tap's link, as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from care_live.checksum import crc32c
from care_live.images import Frame
from care_live.wire import tap_codec, tap_protocol

ENVELOPE = tap_codec.Envelope(tap="ab" * 16, number=5, epoch=1, sent_ns=123)


def as_received(message: Any, pixels: np.ndarray | None = None) -> list[memoryview]:
    return [memoryview(bytes(part)) for part in tap_protocol.encode(message, pixels)]


def encoded_frame(one: Frame) -> list[memoryview]:
    message = tap_codec.event_message(one, ENVELOPE, token="", checksum=crc32c(one.pixels))
    return as_received(message, one.pixels)


def nested(depth: int) -> str:
    return '{"a":' + "[" * depth + "]" * depth + "}"
