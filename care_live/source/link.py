"""The link between a tap and the daemon, as pure functions: messages to bytes and back. See link.md.

Every message is one JSON header; a frame's header is followed by its raw pixels. Never pickle. Whatever comes
in is checked; what is wrong raises `ProtocolError` and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from care_live.checksum import crc32c
from care_live.errors import ProtocolError

LINK = 1
"""Version of the link; both ends must speak the same."""
HEADER_BYTES = 16 * 1024**2
"""The longest header: the plan of a long run."""
FRAME_BYTES = 512 * 1024**2
"""The longest frame."""
MAX_SIDE_PX = 65_535
_MAX_COUNT = 2**53
_DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("<u1"), "uint16": np.dtype("<u2")}

Part: TypeAlias = bytes | memoryview | NDArray[Any]


class _Head(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    link: int = LINK


class _FromTap(_Head, frozen=True, kw_only=True):
    tap: str
    """Random name of this tap, 32 hexadecimal digits."""
    number: int
    """Counts a tap's messages from 0; a ping has the number of the next one."""
    epoch: int
    """How often the tap went back to send again."""
    sent_ns: int
    """The tap's monotonic clock when this was sent."""


class Start(_FromTap, frozen=True, kw_only=True, tag="start"):
    """Message 0: what will come."""

    token: str
    stacks: list[tuple[int, int, int, int | list[int]]]
    """t, p, c and the z indices, or their count where they are 0, 1, 2…; empty: the tap can't tell."""
    shape_px: tuple[int, int]
    dtype: Literal["uint8", "uint16"]
    voxel_size_um: tuple[float, float, float]
    channels: list[str]
    positions: list[str]
    interval_s: float
    endless: bool
    summary: dict[str, Any]


class FrameHead(_FromTap, frozen=True, kw_only=True, tag="frame"):
    """One frame; its pixels, little-endian (y, x), are the second part."""

    index: tuple[int, int, int, int]
    """t, p, c, z."""
    shape_px: tuple[int, int]
    dtype: Literal["uint8", "uint16"]
    crc32c: int
    host_time_ns: int
    """The tap's monotonic clock when the camera's frame reached it."""
    core_time_us: int | None = None
    exposure_ms: float | None = None
    sequence_id: int | None = None
    camera_count: int | None = None


class SequenceHead(_FromTap, frozen=True, kw_only=True, tag="sequence"):
    """A hardware sequence is over."""

    sequence_id: int
    n_expected: int
    n_received: int
    problem: str | None = None


class End(_FromTap, frozen=True, kw_only=True, tag="end"):
    """The last message."""

    reason: Literal["finished", "aborted", "failed", "stalled"]
    detail: str
    n_delivered: int
    n_refused: int


class Ping(_FromTap, frozen=True, kw_only=True, tag="ping"):
    """I am here; what did you get?"""


class Ack(_Head, frozen=True, kw_only=True, tag="ack"):
    """The daemon has every message before `next_number`."""

    next_number: int
    epoch: int
    """Of the message that is answered."""
    behind: bool = False
    """That message came too early, or was a ping for more: something before it got lost; send again."""


class Stop(_Head, frozen=True, kw_only=True, tag="stop"):
    """Abort the acquisition and send the end."""


class Refuse(_Head, frozen=True, kw_only=True, tag="refuse"):
    """This tap is not wanted."""

    reason: str


FromTap: TypeAlias = Start | FrameHead | SequenceHead | End | Ping
ToTap: TypeAlias = Ack | Stop | Refuse


class _Version(msgspec.Struct):
    link: int


_encoder = msgspec.json.Encoder()
_version = msgspec.json.Decoder(_Version)
_from_tap = msgspec.json.Decoder(Start | FrameHead | SequenceHead | End | Ping)
_to_tap = msgspec.json.Decoder(Ack | Stop | Refuse)


def encode(message: FromTap | ToTap, pixels: NDArray[Any] | None = None) -> list[Part]:
    """Return the parts of one message."""
    header = _encoder.encode(message)
    return [header] if pixels is None else [header, pixels]


def decode_from_tap(parts: Sequence[memoryview]) -> tuple[FromTap, NDArray[Any] | None]:
    """Check and decode a message of a tap.

    Returns
    -------
    header, and for a frame its pixels: (y, x), read-only, in the memory of the message

    Raises
    ------
    ProtocolError
        It is none; says why.
    """
    message = _decode(_from_tap, parts)
    if (
        min(message.number, message.epoch) < 0
        or max(message.number, message.epoch, message.sent_ns) > _MAX_COUNT * 1024
    ):
        raise ProtocolError("a message number or time is out of range")
    if isinstance(message, FrameHead):
        return message, _pixels(message, parts)
    if len(parts) != 1:
        raise ProtocolError(f"{type(message).__name__.lower()} message has {len(parts)} parts; wanted 1")
    return message, None


def decode_to_tap(parts: Sequence[memoryview]) -> ToTap:
    """Check and decode a message of the daemon.

    Raises
    ------
    ProtocolError
        It is none; says why.
    """
    if len(parts) != 1:
        raise ProtocolError(f"message to a tap has {len(parts)} parts; wanted 1")
    message: ToTap = _decode(_to_tap, parts)
    return message


def _decode(decoder: Any, parts: Sequence[memoryview]) -> Any:
    if not parts or len(parts[0]) > HEADER_BYTES:
        raise ProtocolError("message without a header, or with one that is too long")
    try:
        link = _version.decode(parts[0]).link
        if link != LINK:
            raise ProtocolError(f"the other end speaks link {link}, this one {LINK}: install the same care_live")
        return decoder.decode(parts[0])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ProtocolError(f"header is not of the link: {error}") from error


def _pixels(head: FrameHead, parts: Sequence[memoryview]) -> NDArray[Any]:
    if len(parts) != 2:
        raise ProtocolError(f"frame has {len(parts)} parts; wanted header and pixels")
    if min(head.index) < 0 or max(head.index) >= 2**31:
        raise ProtocolError(f"frame index {head.index} is out of range")
    if not all(0 < side <= MAX_SIDE_PX for side in head.shape_px):
        raise ProtocolError(f"frame shape {head.shape_px} is out of range")
    dtype = _DTYPES[head.dtype]
    wanted = head.shape_px[0] * head.shape_px[1] * dtype.itemsize
    if len(parts[1]) != wanted or wanted > FRAME_BYTES:
        raise ProtocolError(f"frame of {head.shape_px} {head.dtype} came with {len(parts[1])} bytes; wanted {wanted}")
    if crc32c(parts[1]) != head.crc32c:
        raise ProtocolError(f"frame {head.index} has a wrong checksum")
    pixels: NDArray[Any] = np.frombuffer(parts[1], dtype).reshape(head.shape_px)
    pixels.flags.writeable = False
    return pixels
