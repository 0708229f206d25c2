"""The link between a tap and the daemon, as pure functions: messages to bytes and back. See tap_protocol.md.

Every message is one JSON header; a frame's header is followed by its raw pixels. Never pickle. What comes in is
checked, and so is what goes out, by the same rules; what is wrong raises `ProtocolError` and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from care_live.checksum import crc32c
from care_live.errors import ProtocolError
from care_live.wire.arrays import Size
from care_live.wire.codec import Codec
from care_live.wire.fields import Count, Micros, Text
from care_live.wire.plans import PlanHeader

LINK = 2
"""Version of the link; both ends must have the same."""
HEADER_BYTES = 4 * 1024**2
"""The longest header: the plan of a long run."""
SUMMARY_BYTES = 256 * 1024
"""The longest JSON of a source's summary."""
FRAME_BYTES = 256 * 1024**2
"""The longest frame."""
ANSWER_BYTES = 16 * 1024
"""The longest message to a tap."""
MAX_SIDE_PX = 65_536
MAX_TEXT = 1000

TapName = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
Token = Annotated[str, msgspec.Meta(max_length=128)]
Nanos = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
Index = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
ExposureMs = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("<u1"), "uint16": np.dtype("<u2")}

Part: TypeAlias = bytes | memoryview | NDArray[Any]


class _Head(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    link: int = LINK


class _FromTap(_Head, frozen=True, kw_only=True):
    tap: TapName
    """Random name of this tap, 32 hexadecimal digits."""
    number: Count
    """Counts a tap's messages from 0; a ping has the number of the next one."""
    epoch: Count
    """How often the tap went back to send again."""
    sent_ns: Nanos
    """The tap's monotonic clock when this was sent."""


class MemoryOffer(msgspec.Struct, frozen=True):
    """Memory of the tap's process from which a daemon on the same machine may read frames: see `frame_memory`."""

    pid: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    descriptor: Index
    """Of the open file."""
    name: TapName
    """32 hexadecimal digits that the tap has drawn."""
    slot_bytes: Annotated[int, msgspec.Meta(ge=1, le=FRAME_BYTES)]
    """The longest frame."""
    n_slots: Annotated[int, msgspec.Meta(ge=1, le=64)]


class TapStart(_FromTap, frozen=True, kw_only=True, tag="start"):
    """Message 0: what will come."""

    token: Token
    plan: PlanHeader
    """As in cl1's start; without stacks: the tap does not know them."""
    summary: msgspec.Raw
    """A JSON object, decoded only when its length is known to be sensible."""
    memory: MemoryOffer | msgspec.UnsetType = msgspec.UNSET


class FrameHead(_FromTap, frozen=True, kw_only=True, tag="frame"):
    """One frame; its pixels, little-endian (y, x), are the second part, or lie in the tap's memory."""

    index: tuple[Index, Index, Index, Index]
    """t, p, c, z."""
    shape_px: tuple[Size, Size]
    dtype: Literal["uint8", "uint16"]
    crc32c: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    host_time_ns: Nanos
    """The tap's monotonic clock when the camera's frame reached it."""
    core_time_us: Micros | None = None
    exposure_ms: ExposureMs | None = None
    sequence_id: Index | None = None
    camera_count: Count | None = None
    slot: Index | msgspec.UnsetType = msgspec.UNSET
    """Where the pixels lie in the tap's memory; there is no second part then."""


class SequenceHead(_FromTap, frozen=True, kw_only=True, tag="sequence"):
    """A hardware sequence is over."""

    sequence_id: Index
    n_expected: Count
    n_received: Count
    problem: Text | None = None


class TapEnd(_FromTap, frozen=True, kw_only=True, tag="end"):
    """The last message."""

    reason: Literal["finished", "aborted", "failed", "stalled"]
    detail: Text
    n_delivered: Count
    n_refused: Count


class TapPing(_FromTap, frozen=True, kw_only=True, tag="ping"):
    """A sign of life, which the daemon answers with what it has."""


class Ack(_Head, frozen=True, kw_only=True, tag="ack"):
    """The daemon has every message before `next_number`."""

    next_number: Count
    epoch: Count
    """Of the message that is answered."""
    behind: bool = False
    """That message came too early, or was a ping for more: something before it got lost; send again."""
    stored_before: Count | msgspec.UnsetType = msgspec.UNSET
    """What came before this number is on the disk, or will never be; unset: a tap may forget what this daemon has."""
    waits: bool = False
    """Another tap's run is under way, and this one's comes after it: nothing was taken, send only pings until then."""
    reads_memory: bool = False
    """The daemon can read the memory that the tap offered."""


class TapStop(_Head, frozen=True, kw_only=True, tag="stop"):
    """Abort the acquisition and send the end."""


class Refuse(_Head, frozen=True, kw_only=True, tag="refuse"):
    """The daemon refuses this tap."""

    reason: Text


FromTap: TypeAlias = TapStart | FrameHead | SequenceHead | TapEnd | TapPing
ToTap: TypeAlias = Ack | TapStop | Refuse


class _Version(msgspec.Struct):
    link: int


_version = msgspec.json.Decoder(_Version)


def _look(text: memoryview) -> None:
    if (link := _version.decode(text).link) != LINK:
        raise ProtocolError(f"the other end has link version {link}, this one {LINK}: install the same care_live")


_from_tap: Codec[FromTap] = Codec(FromTap, "header", limit_bytes=HEADER_BYTES, look=_look)
_to_tap: Codec[ToTap] = Codec(ToTap, "header", limit_bytes=ANSWER_BYTES, look=_look)


def encode(message: FromTap | ToTap, pixels: NDArray[Any] | None = None) -> list[Part]:
    """Return the parts of one message; pixels are not copied.

    Raises
    ------
    ProtocolError
        The other end would refuse it.
    """
    header = _to_tap.encode(message) if isinstance(message, Ack | TapStop | Refuse) else _from_tap.encode(message)
    return [header] if pixels is None else [header, pixels]


def decode_from_tap(parts: Sequence[memoryview]) -> tuple[FromTap, NDArray[Any] | None]:
    """Check and decode a message of a tap.

    Returns
    -------
    header, and for a frame that brings them its pixels: (y, x), read-only, in the memory of the message

    Raises
    ------
    ProtocolError
        This is not a valid message of a tap; the text has the reason.
    """
    if not parts:
        raise ProtocolError("message without a header")
    message = _from_tap.decode(parts[0])
    if isinstance(message, FrameHead) and isinstance(message.slot, msgspec.UnsetType):
        return message, _pixels(message, parts)
    if len(parts) != 1:
        raise ProtocolError(f"{type(message).__name__.lower()} message has {len(parts)} parts; wanted 1")
    return message, None


def decode_to_tap(parts: Sequence[memoryview]) -> ToTap:
    """Check and decode a message of the daemon.

    Raises
    ------
    ProtocolError
        This is not a valid message of a daemon; the text has the reason.
    """
    if len(parts) != 1:
        raise ProtocolError(f"message to a tap has {len(parts)} parts; wanted 1")
    return _to_tap.decode(parts[0])


def pixel_type(head: FrameHead) -> np.dtype[Any]:
    """Return the type of a frame's pixels, little-endian."""
    return _DTYPES[head.dtype]


def _pixels(head: FrameHead, parts: Sequence[memoryview]) -> NDArray[Any]:
    if len(parts) != 2:
        raise ProtocolError(f"frame has {len(parts)} parts; wanted header and pixels")
    dtype = pixel_type(head)
    wanted = head.shape_px[0] * head.shape_px[1] * dtype.itemsize
    if len(parts[1]) != wanted or wanted > FRAME_BYTES:
        raise ProtocolError(f"frame of {head.shape_px} {head.dtype} came with {len(parts[1])} bytes; wanted {wanted}")
    if crc32c(parts[1]) != head.crc32c:
        raise ProtocolError(f"frame {head.index} has a wrong checksum")
    pixels: NDArray[Any] = np.frombuffer(parts[1], dtype).reshape(head.shape_px)
    pixels.flags.writeable = False
    return pixels
