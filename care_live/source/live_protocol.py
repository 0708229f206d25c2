"""The link of Live, as pure functions: the daemon wants a frame, the camera's end sends the newest.

There is never more than one frame under way, so none waits. Like the tap's link: one JSON header, then raw pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from care_live.errors import ProtocolError
from care_live.images import read_only
from care_live.live_frame import LiveConditions, LiveFrame
from care_live.wire.arrays import Size
from care_live.wire.codec import Codec
from care_live.wire.fields import Count, Finite, Name
from care_live.wire.tap_protocol import FRAME_BYTES

HEADER_BYTES = 16 * 1024

_Nanos = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
_DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("<u1"), "uint16": np.dtype("<u2")}


class _LiveHead(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    live_link: Literal[1] = 1
    """Version of the link; both ends must have the same."""


class CameraHere(_LiveHead, frozen=True, kw_only=True, tag="here"):
    """Every second: a camera can be asked."""

    sent_ns: _Nanos
    """Its monotonic clock when this was sent."""


class FrameWanted(_LiveHead, frozen=True, kw_only=True, tag="wanted"):
    """Send the newest frame as soon as there is one that was not sent."""


class LiveHead(_LiveHead, frozen=True, kw_only=True, tag="live"):
    """A frame; its pixels, little-endian (y, x), are the second part."""

    sent_ns: _Nanos
    number: Count
    host_time_ns: _Nanos
    """The camera's end's monotonic clock when the frame reached it."""
    shape_px: tuple[Size, Size]
    dtype: Literal["uint8", "uint16"]
    exposure_ms: Finite | None = None
    laser: Finite | None = None
    channel: Name = ""
    z_um: Finite | None = None
    frames_per_s: Finite | None = None
    light_s: Finite = 0.0
    snapped: bool = False
    pixel_um: Annotated[float, msgspec.Meta(gt=0, lt=1e6)] = 1.0


FromCamera: TypeAlias = CameraHere | LiveHead
Part: TypeAlias = bytes | memoryview | NDArray[Any]

_from_camera: Codec[FromCamera] = Codec(FromCamera, "header of a live frame", limit_bytes=HEADER_BYTES)
_to_camera: Codec[FrameWanted] = Codec(FrameWanted, "request for a live frame", limit_bytes=HEADER_BYTES)


def here(sent_ns: int) -> list[Part]:
    """Return the sign of life of a camera's end."""
    return [_from_camera.encode(CameraHere(sent_ns=sent_ns))]


def wanted() -> list[Part]:
    """Return the request for a frame."""
    return [_to_camera.encode(FrameWanted())]


def check_wanted(parts: Sequence[memoryview]) -> None:
    """Check a request for a frame.

    Raises
    ------
    ProtocolError
        It is something else.
    """
    if len(parts) != 1:
        raise ProtocolError(f"request for a live frame has {len(parts)} parts; wanted 1")
    _to_camera.decode(parts[0])


def frame_parts(frame: LiveFrame, sent_ns: int) -> list[Part]:
    """Return the parts of a frame; its pixels are not copied.

    Raises
    ------
    ProtocolError
        The other end would refuse it.
    """
    head = LiveHead(
        sent_ns=sent_ns,
        number=frame.number,
        host_time_ns=frame.host_time_ns,
        shape_px=(frame.pixels.shape[0], frame.pixels.shape[1]),
        dtype="uint8" if frame.pixels.dtype == np.uint8 else "uint16",
        **{name: getattr(frame.conditions, name) for name in LiveConditions.__slots__},
    )
    return [_from_camera.encode(head), frame.pixels]


def read(parts: Sequence[memoryview], *, received_ns: int, offset_ns: int | None) -> tuple[LiveFrame | None, int]:
    """Return the frame of a message, by this machine's clock, and the offset of the other one's clock.

    Parameters
    ----------
    received_ns : this machine's monotonic clock
    offset_ns : as far as it is known: the smallest of *received - sent*; None: not known

    Raises
    ------
    ProtocolError
        It is no message of a camera's end.
    """
    if not parts:
        raise ProtocolError("live message without a header")
    head = _from_camera.decode(parts[0])
    seen = received_ns - head.sent_ns
    offset_ns = seen if offset_ns is None else min(offset_ns, seen)
    if isinstance(head, CameraHere):
        return None, offset_ns
    pixels = _pixels(head, parts)
    conditions = LiveConditions(**{name: getattr(head, name) for name in LiveConditions.__slots__})
    return LiveFrame(pixels, head.number, head.host_time_ns + offset_ns, conditions), offset_ns


def _pixels(head: LiveHead, parts: Sequence[memoryview]) -> NDArray[Any]:
    dtype = _DTYPES[head.dtype]
    n_bytes = head.shape_px[0] * head.shape_px[1] * dtype.itemsize
    if len(parts) != 2 or n_bytes > FRAME_BYTES or len(parts[1]) != n_bytes or n_bytes == 0:
        raise ProtocolError(f"live frame of {head.shape_px} {head.dtype} has other pixels than {n_bytes} bytes")
    return read_only(np.frombuffer(parts[1], dtype).reshape(head.shape_px))
