"""Events of a run to messages of the tap's link, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace
from numpy.typing import NDArray

from care_live.checksum import crc32c
from care_live.errors import ProtocolError
from care_live.images import Frame, PlaneIndex, RunEnded, RunEvent, RunStarted, SequenceEnded
from care_live.wire import plans
from care_live.wire.codec import record_of
from care_live.wire.tap_protocol import (
    MAX_TEXT,
    SUMMARY_BYTES,
    FrameHead,
    FromTap,
    MemoryOffer,
    Part,
    SequenceHead,
    TapEnd,
    TapPing,
    TapStart,
    encode,
)

_Number = TypeVar("_Number", int, float)


SUMMARY_DEPTH = 32
"""Levels of lists and objects in a source's summary."""


class Envelope(msgspec.Struct, frozen=True):
    """What every message of a tap carries beside its content."""

    tap: str
    number: int
    epoch: int
    sent_ns: int


def parts_of(
    event: RunEvent, envelope: Envelope, *, token: str, offer: MemoryOffer | None = None, slot: int | None = None
) -> list[Part]:
    """Return the parts of the message that carries an event; pixels are not copied.

    Parameters
    ----------
    offer : goes along with a start
    slot : of the tap's memory, where a frame's pixels lie; None: they are a part of the message

    Raises
    ------
    ProtocolError
        The daemon would refuse it.
    """
    pixels = event.pixels if isinstance(event, Frame) else None
    checksum = 0 if pixels is None else crc32c(pixels)
    message = event_message(event, envelope, token=token, checksum=checksum)
    if isinstance(message, TapStart) and offer is not None:
        message = replace(message, memory=offer)
    if isinstance(message, FrameHead) and slot is not None:
        return encode(replace(message, slot=slot))
    return encode(message, pixels)


def event_message(event: RunEvent, envelope: Envelope, *, token: str, checksum: int = 0) -> FromTap:
    """Return the header for one event.

    Raises
    ------
    ProtocolError
        A plan has more volumes than can be planned.
    """
    common: dict[str, Any] = msgspec.structs.asdict(envelope)
    match event:
        case RunStarted():
            return _start(event, common, token)
        case Frame():
            return _frame(event, common, checksum)
        case SequenceEnded(problem=problem):
            return record_of(SequenceHead, event, problem=None if problem is None else _text(problem), **common)
        case RunEnded():
            return record_of(TapEnd, event, detail=_text(event.detail), **common)


def _text(said: str) -> str:
    """Return a text as it can travel."""
    return said[:MAX_TEXT].encode("utf-8", "replace").decode()


def _start(event: RunStarted, common: dict[str, Any], token: str) -> TapStart:
    plan = plans.plan_header(event.plan)
    plans.plan_of(plan)  # raises what the daemon would
    return TapStart(token=token, plan=plan, summary=_summary(event.summary), **common)


def _summary(summary: Mapping[str, Any]) -> msgspec.Raw:
    """Return a source's summary, or a note that it is too long or not JSON: no run ends for that."""
    try:
        said = msgspec.json.encode(dict(summary))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return msgspec.Raw(msgspec.json.encode({"left_out": f"no JSON: {str(error)[:200]}"}))
    if len(said) > SUMMARY_BYTES or _is_deeper(msgspec.json.decode(said), SUMMARY_DEPTH):
        most = f"{SUMMARY_BYTES} bytes and {SUMMARY_DEPTH} levels travel"
        return msgspec.Raw(msgspec.json.encode({"left_out": f"{len(said)} bytes of JSON: at most {most}"}))
    return msgspec.Raw(said)


def _frame(event: Frame, common: dict[str, Any], checksum: int) -> FrameHead:
    return record_of(
        FrameHead,
        event,
        shape_px=event.pixels.shape,
        dtype=event.pixels.dtype.name,
        crc32c=checksum,
        core_time_us=_if_within(event.core_time_us, 2**53 - 1),
        exposure_ms=_if_within(event.exposure_ms, 1e9),
        camera_count=_if_within(event.camera_count, 2**53 - 1),
        **common,
    )


def _if_within(number: _Number | None, highest: float) -> _Number | None:
    """Return a number that a driver gave, or None where it is impossible: the frame is worth more than its tags."""
    return number if number is not None and 0 <= number <= highest else None


def ping(envelope: Envelope) -> TapPing:
    """Return a question for what the daemon has."""
    return TapPing(**msgspec.structs.asdict(envelope))


def summary_of(start: TapStart) -> dict[str, Any]:
    """Return the source's summary.

    Raises
    ------
    ProtocolError
        The summary is too long, or not a JSON object.
    """
    said = bytes(start.summary)
    if len(said) > SUMMARY_BYTES:
        raise ProtocolError(f"the summary has {len(said)} bytes: at most {SUMMARY_BYTES} are taken")
    try:
        summary = msgspec.json.decode(said, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"the summary is not a JSON object: {str(error)[:200]}") from error
    if _is_deeper(summary, SUMMARY_DEPTH):
        raise ProtocolError(f"the summary is nested more than {SUMMARY_DEPTH} deep")
    return summary


def _is_deeper(said: Any, depth: int) -> bool:
    if not isinstance(said, dict | list):
        return False
    inner = said.values() if isinstance(said, dict) else said
    return depth == 0 or any(_is_deeper(one, depth - 1) for one in inner)


def frame_of(head: FrameHead, pixels: NDArray[Any], *, run_id: str, arrival: int, host_time_ns: int) -> Frame:
    """Return the frame of a message.

    Parameters
    ----------
    host_time_ns : when the camera's frame reached the tap, on this machine's clock
    """
    about = {"run_id": run_id, "arrival": arrival, "host_time_ns": host_time_ns}
    return record_of(Frame, head, index=PlaneIndex(*head.index), pixels=pixels, **about)
