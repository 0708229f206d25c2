"""Messages of a tap become events in order, and answers. This module has no sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from numpy.typing import NDArray

from care_live.errors import ProtocolError
from care_live.images import Plan, RunEnded, RunStarted, SequenceEnded, SourceEvent, VolumeKey
from care_live.source.tap_line import TapLine
from care_live.wire import plans, tap_codec, tap_protocol
from care_live.wire.codec import record_of
from care_live.wire.frame_memory import FrameMemoryReader

_DRIFT = 50e-6
"""Clocks of two machines drift apart by less than this; so the shortest way may grow by it."""
_MOST_FINISHED = 64
_ANOTHER_SENDS = (
    "another tap is sending already, and this daemon records one run and then ends: begin when that run is over and "
    'the daemon is started again; with source.kind = "live" acquisitions wait in line, and each becomes a run'
)


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of one message."""

    event: SourceEvent | None
    answer: tap_protocol.ToTap


class Receiver:
    """Takes the messages of one tap, whatever is lost or doubled between two connections.

    Parameters
    ----------
    run_id : of the events
    token : the secret that the tap must send; empty: any tap may connect
    z_planes : planes of each stack, when the tap can't send its plan
    until_stored : the tap keeps its frames until `store` says that they are on the disk
    finished : taps that ended their runs earlier, and may have missed the last answer; one whose run was given up
        begins anew with what it still has
    line : where taps wait that come during another one's run; None: they are refused
    """

    def __init__(
        self,
        *,
        run_id: str,
        token: str = "",
        z_planes: int | None = None,
        until_stored: bool = False,
        finished: tuple[str, ...] = (),
        line: TapLine | None = None,
    ) -> None:
        self._line = line
        self._finished = finished[-_MOST_FINISHED:]
        self._has_ended = False
        self._run_id = run_id
        self._token = token
        self._z_planes = z_planes
        self._tap: str | None = None
        self._next_number = 0
        self._n_frames = self._newest_ns = 0
        self._epoch = 0
        self._unstored: deque[int] | None = deque() if until_stored else None
        """Numbers of the frames that are not on the disk yet."""
        self._memory: FrameMemoryReader | None = None
        """Of a tap on this machine."""
        self._clock = ClockOffset()
        self.n_bad = 0
        """Messages that broke the protocol."""

    @property
    def has_begun(self) -> bool:
        return self._tap is not None

    @property
    def finished(self) -> tuple[str, ...]:
        """The taps that have ended their runs, this one and earlier ones."""
        return self._finished + ((self._tap,) if self._tap is not None and self._has_ended else ())

    def take(self, message: tap_protocol.FromTap, pixels: NDArray[Any] | None, *, now_ns: int) -> Taken:
        """Take one message.

        Raises
        ------
        ProtocolError
            The message is impossible; it counts as not received.
        """
        if refused := self._refusal(message):
            return Taken(None, tap_protocol.Refuse(reason=refused))
        if message.tap in self._finished:
            end = message.number + (not isinstance(message, tap_protocol.TapPing))
            return Taken(None, tap_protocol.Ack(next_number=end, epoch=message.epoch, stored_before=end))
        if self._is_in_line(message.tap):
            return Taken(None, tap_protocol.Ack(next_number=0, epoch=message.epoch, waits=True))
        event = None
        if message.tap == self._tap:
            self._clock.learn(message.sent_ns, now_ns)
        if not isinstance(message, tap_protocol.TapPing) and self._is_due(message):
            event = self._event(message, pixels)
            self._has_ended = isinstance(message, tap_protocol.TapEnd)
            self._next_number = message.number + 1
            if self._tap is None:
                self._tap = message.tap
                self._clock.learn(message.sent_ns, now_ns)
        behind = message.number > self._next_number - (not isinstance(message, tap_protocol.TapPing))
        self._epoch = message.epoch
        return Taken(event, self.acknowledgement(behind=behind))

    def acknowledgement(self, *, behind: bool = False) -> tap_protocol.Ack:
        """Return what this daemon has, and what of that is safe."""
        stored_before: int | msgspec.UnsetType = msgspec.UNSET
        if self._unstored is not None:
            stored_before = self._unstored[0] if self._unstored else self._next_number
        return tap_protocol.Ack(
            next_number=self._next_number,
            epoch=self._epoch,
            behind=behind,
            stored_before=stored_before,
            reads_memory=self._memory is not None,
        )

    def close(self) -> None:
        """Close the memory of the tap."""
        if self._memory is not None:
            self._memory.close()
        self._memory = None

    def store(self, before: int) -> None:
        """Note that the frames that arrived before this one are on the disk, or will never be."""
        while self._unstored and self._n_frames - len(self._unstored) < before:
            self._unstored.popleft()

    def _refusal(self, message: tap_protocol.FromTap) -> str | None:
        if isinstance(message, tap_protocol.TapStart) and message.token != self._token:
            return "the token is wrong: this daemon started an acquisition of its own"
        if self._tap not in (None, message.tap) and self._line is None:
            return _ANOTHER_SENDS
        return None

    def _is_in_line(self, tap: str) -> bool:
        """Whether another tap sends, or came earlier."""
        if self._line is None or tap == self._tap:
            return False
        return self._tap is not None or not self._line.may_begin(tap)

    def _is_due(self, message: tap_protocol.FromTap) -> bool:
        """A tap that is new to this daemon begins with its start, whatever its number is."""
        if self._tap is None:
            return isinstance(message, tap_protocol.TapStart)
        return message.number == self._next_number

    def _event(self, message: tap_protocol.FromTap, pixels: NDArray[Any] | None) -> SourceEvent:
        if isinstance(message, tap_protocol.TapStart):
            if self.has_begun:
                raise ProtocolError("the run began before: a tap starts one run")
            summary, plan = tap_codec.summary_of(message), self._plan(message)
            if not isinstance(message.memory, msgspec.UnsetType):
                self._memory = FrameMemoryReader.open(message.memory)
            return RunStarted(self._run_id, plan, summary, tap="" if self._token else message.tap)
        if isinstance(message, tap_protocol.FrameHead):
            pixels = self._from_memory(message) if pixels is None else pixels
            arrival = self._n_frames
            self._n_frames += 1
            if self._unstored is not None:
                self._unstored.append(message.number)
            came_ns = message.host_time_ns + self._clock.offset_ns
            self._newest_ns = max(self._newest_ns, came_ns)  # a better offset must not turn time back
            return tap_codec.frame_of(
                message, pixels, run_id=self._run_id, arrival=arrival, host_time_ns=self._newest_ns
            )
        if isinstance(message, tap_protocol.SequenceHead):
            return record_of(SequenceEnded, message)
        if isinstance(message, tap_protocol.TapEnd):
            return record_of(RunEnded, message)
        raise ProtocolError(f"{type(message).__name__} carries no event")

    def _from_memory(self, head: tap_protocol.FrameHead) -> NDArray[Any]:
        if self._memory is None or isinstance(head.slot, msgspec.UnsetType):
            raise ProtocolError(f"frame {head.index} has no pixels, and the memory of its tap is not open")
        return self._memory.read(head, head.slot)

    def _plan(self, start: tap_protocol.TapStart) -> Plan:
        plan = plans.plan_of(start.plan)
        if plan.stacks or self._z_planes is None:
            return plan
        return replace(plan, stacks=EveryStack(self._z_planes), endless=True)


class EveryStack(Mapping[VolumeKey, tuple[int, ...]]):
    """Stacks of a tap that can't send its plan: every position and channel has the same number of planes."""

    def __init__(self, z_planes: int) -> None:
        self._planes = tuple(range(z_planes))

    def __getitem__(self, key: VolumeKey) -> tuple[int, ...]:
        return self._planes

    def __iter__(self) -> Iterator[VolumeKey]:
        return iter((VolumeKey(0, 0, 0),))

    def __len__(self) -> int:
        return 1


class ClockOffset:
    """What to add to another machine's monotonic clock, from its fastest message.

    The way of a message takes time, so *received - sent* is at least the offset; the smallest one seen is the
    nearest to it. Two clocks of one machine give 0 up to the transport's own microseconds.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._learned_ns = 0

    @property
    def offset_ns(self) -> int:
        return self._offset_ns or 0

    def learn(self, sent_ns: int, received_ns: int) -> None:
        seen = received_ns - sent_ns
        if self._offset_ns is None:
            self._offset_ns = seen
        drifted = self._offset_ns + round((received_ns - self._learned_ns) * _DRIFT) if self._learned_ns else seen
        self._offset_ns = min(drifted, seen)
        self._learned_ns = received_ns
