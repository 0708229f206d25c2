"""Records to messages of the link, and back."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from care_live.errors import ProtocolError
from care_live.images import Frame, Plan, PlaneIndex, RunEnded, RunStarted, SequenceEnded, SourceEvent, VolumeKey
from care_live.source.link import MAX_SIDE_PX, End, FrameHead, FromTap, Ping, SequenceHead, Start


class Envelope(msgspec.Struct, frozen=True):
    """What every message of a tap carries beside its content."""

    tap: str
    number: int
    epoch: int
    sent_ns: int


def event_message(event: SourceEvent, envelope: Envelope, *, token: str, checksum: int = 0) -> FromTap:
    """Return the header for one event."""
    common: dict[str, Any] = msgspec.structs.asdict(envelope)
    if isinstance(event, RunStarted):
        return _start(event, common, token)
    if isinstance(event, Frame):
        return _frame(event, common, checksum)
    if isinstance(event, SequenceEnded):
        return SequenceHead(
            sequence_id=event.sequence_id,
            n_expected=event.n_expected,
            n_received=event.n_received,
            problem=event.problem,
            **common,
        )
    return End(
        reason=event.reason, detail=event.detail, n_delivered=event.n_delivered, n_refused=event.n_refused, **common
    )


def _start(event: RunStarted, common: dict[str, Any], token: str) -> Start:
    plan = event.plan
    stacks: list[tuple[int, int, int, int | list[int]]] = [
        (*key, len(z) if z == tuple(range(len(z))) else list(z)) for key, z in plan.stacks.items()
    ]
    return Start(
        token=token,
        stacks=stacks,
        shape_px=plan.shape_px,
        dtype="uint8" if plan.dtype == "uint8" else "uint16",
        voxel_size_um=plan.voxel_size_um,
        channels=list(plan.channels),
        positions=list(plan.positions),
        interval_s=plan.interval_s,
        endless=plan.endless,
        summary=dict(event.summary),
        **common,
    )


def _frame(event: Frame, common: dict[str, Any], checksum: int) -> FrameHead:
    return FrameHead(
        index=(event.index.t, event.index.p, event.index.c, event.index.z),
        shape_px=(event.pixels.shape[0], event.pixels.shape[1]),
        dtype="uint8" if event.pixels.dtype == np.uint8 else "uint16",
        crc32c=checksum,
        host_time_ns=event.host_time_ns,
        core_time_us=event.core_time_us,
        exposure_ms=event.exposure_ms,
        sequence_id=event.sequence_id,
        camera_count=event.camera_count,
        **common,
    )


def ping(envelope: Envelope) -> Ping:
    """Return a question for what the daemon has."""
    return Ping(**msgspec.structs.asdict(envelope))


def plan_of(start: Start) -> Plan:
    """Return the plan that a start message states.

    Raises
    ------
    ProtocolError
        Negative or doubled indices, a shape out of range, no names.
    """
    stacks = {}
    for t, p, c, z in start.stacks:
        planes = tuple(range(z)) if isinstance(z, int) else tuple(z)
        if min(t, p, c, *planes, 0) < 0 or list(planes) != sorted(set(planes)) or not planes:
            raise ProtocolError(f"plan has an impossible stack at t={t} p={p} c={c}")
        stacks[VolumeKey(t, p, c)] = planes
    if not all(0 <= side <= MAX_SIDE_PX for side in start.shape_px) or min(start.voxel_size_um) <= 0:
        raise ProtocolError(f"plan has shape {start.shape_px} and voxels of {start.voxel_size_um} µm")
    if not start.channels or not start.positions:
        raise ProtocolError("plan names no channel or no position")
    return Plan(
        stacks=stacks,
        shape_px=start.shape_px,
        dtype=start.dtype,
        voxel_size_um=start.voxel_size_um,
        channels=tuple(start.channels),
        positions=tuple(start.positions),
        interval_s=start.interval_s,
        endless=start.endless,
    )


def frame_of(head: FrameHead, pixels: NDArray[Any], *, run_id: str, arrival: int, clock_offset_ns: int) -> Frame:
    """Return the frame of a message, its time on this machine's clock."""
    return Frame(
        run_id=run_id,
        arrival=arrival,
        index=PlaneIndex(*head.index),
        pixels=pixels,
        host_time_ns=head.host_time_ns + clock_offset_ns,
        core_time_us=head.core_time_us,
        exposure_ms=head.exposure_ms,
        sequence_id=head.sequence_id,
        camera_count=head.camera_count,
    )


def end_of(end: End) -> RunEnded:
    return RunEnded(end.reason, end.detail, end.n_delivered, end.n_refused)
