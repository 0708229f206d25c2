"""The thread that sends a tap's events to the daemon; the caller that hands over never waits for it."""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from care_live.errors import CareLiveError, ProtocolError
from care_live.images import Frame, RunEnded, RunEvent, RunStarted, SequenceEnded
from care_live.wire import tap_codec, tap_protocol
from care_live.wire.address import is_loopback
from care_live.wire.frame_memory import FrameMemory
from care_live.wire.keys import ClientKeys
from care_live.wire.last_wait import IDLE_S, LastWait
from care_live.wire.send_buffer import SendBuffer, VolumeAdmission
from care_live.wire.sockets import Received, Socket, Sockets

logger = logging.getLogger(__name__)

_LOOK_S = 0.2
"""How often the thread checks whether frames can still come."""
_FULL_S = 0.02
"""How long the thread waits at once for a place in the queue or in the memory."""
_PING_S = 1.0
"""How often a ping is sent, while an answer is missing or nothing else is sent."""
_JOIN_S = 1.0
"""How long the thread may take to notice that its time is over."""
_QUEUED_MESSAGES = 4
_SHARE_OF_MEMORY = 4
"""One part in this many of the bytes that may wait is what a daemon on this machine may read from, beside them."""


MEMORY_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a tap sends to, and how much may wait."""

    address: str
    """``tcp://HOST:PORT`` of the daemon."""
    token: str = ""
    """The secret of a daemon that started this engine itself."""
    keys: ClientKeys | None = None
    memory_bytes: int = MEMORY_BYTES
    """Frames that may wait for the daemon; a quarter of it at most is taken beside them: see `FrameMemory`."""
    origin: str = ""
    """16 hexadecimal digits with which the names of this program's taps begin; empty: they are random."""


class TapSender:
    """Owns the link's thread and socket on the tap's side.

    Parameters
    ----------
    endpoint : the daemon
    on_stop : called once, from the thread, when the daemon orders the end or refuses this tap
    look : called about five times a second from the thread
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        on_stop: Callable[[str], None] = lambda _: None,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self._endpoint = endpoint
        self._on_stop = on_stop
        self._look = look
        self._name = endpoint.origin + secrets.token_hex(8 if endpoint.origin else 16)
        self._lock = threading.Lock()
        self._window = SendBuffer()
        self._started: RunStarted | None = None
        self._admission: VolumeAdmission | None = None
        self._n_delivered = self._n_bad = 0
        self._has_answered = False
        self._last_wait = LastWait()
        self._ended = self._stopped = self._asleep = self._refused = self._waits = False
        self._last_answer = self._last_ping = time.monotonic()
        self._memory = FrameMemory(
            is_here=is_loopback(endpoint.address), most_bytes=endpoint.memory_bytes // _SHARE_OF_MEMORY
        )
        self._sockets = Sockets(client=endpoint.keys)
        self._socket = self._sockets.connect(
            "dealer", endpoint.address, hwm=_QUEUED_MESSAGES, max_message_bytes=tap_protocol.ANSWER_BYTES
        )
        self._thread = threading.Thread(target=self._run, name=f"tap {endpoint.address}")

    @property
    def n_delivered(self) -> int:
        return self._n_delivered

    @property
    def n_refused(self) -> int:
        return self._admission.n_refused if self._admission else 0

    @property
    def silent_s(self) -> float:
        """Seconds since the last message of the daemon."""
        return time.monotonic() - self._last_answer

    def open(self) -> None:
        """Start the thread."""
        self._thread.start()

    def start(self, started: RunStarted) -> None:
        """Send the plan; once, before anything else.

        Raises
        ------
        ProtocolError
            The plan is longer than the link takes; nothing was sent.
        """
        envelope = tap_codec.Envelope(self._name, 0, 0, time.monotonic_ns())
        tap_codec.parts_of(started, envelope, token=self._endpoint.token)
        with self._lock:
            self._started = started
            known = started.plan if started.plan.stacks else None
            self._admission = VolumeAdmission(self._endpoint.memory_bytes, known)
            self._window.append(started)
        self._ring()

    def offer(self, frame: Frame) -> bool:
        """Hand over a frame; False: its volume does not fit and is refused. Never blocks."""
        with self._lock:
            if self._ended or self._admission is None or not self._admission.admit(frame.index, frame.pixels.nbytes):
                return False
            self._window.append(frame)
            self._window.keep_at_most(self._admission.spare_bytes)
            self._n_delivered += 1
        self._ring()
        return True

    def note(self, ended: SequenceEnded) -> None:
        """Hand over the end of a hardware sequence."""
        with self._lock:
            if not self._ended:
                self._window.append(ended)
        self._ring()

    def finish(self, ended: RunEnded, *, within_s: float | None) -> None:
        """Send that the run is over; the thread ends when the daemon has everything, or after the `LastWait`."""
        with self._lock:
            self._last_wait.begin(within_s)
            if not self._ended and not self._has_answered:
                where, wait_s = self._endpoint.address, min(IDLE_S, math.inf if within_s is None else within_s)
                logger.warning("no daemon has answered at %s: the tap waits up to %g s for one", where, wait_s)
            if not self._ended:
                self._ended = True
                self._window.append(replace(ended, n_delivered=self._n_delivered, n_refused=self.n_refused))
        self._ring()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; False when it is not over by then."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def join_finished(self) -> bool:
        """Wait for the thread, after `finish`; False when it is not over although its time is."""
        while not self.join(_JOIN_S):
            if self._last_wait.overdue_s > _JOIN_S:
                return False
        return True

    @property
    def has_delivered(self) -> bool:
        """Whether a daemon has every message."""
        with self._lock:
            return not (self._refused or self._window.n_unreceived)

    def _ring(self) -> None:
        if self._asleep:
            self._asleep = False
            self._sockets.wake()

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_done():
                full = self._send_waiting()
                self._wait(full)
                self._ping_if_due()
                self._look()
        except CareLiveError as error:
            logger.error("tap stops sending: %s", error)
        finally:
            with self._lock:
                self._ended = True
            self._sockets.close()
            self._memory.close()

    def _is_done(self) -> bool:
        with self._lock:
            if not self._ended:
                return False
            over = self._last_wait.overdue_s > 0
            if over and self._window.n_unreceived:
                logger.warning("tap ends although the daemon did not take %d messages", self._window.n_unreceived)
            elif over and len(self._window):
                logger.warning("tap ends although the daemon has not stored %d messages yet", len(self._window))
            return over or not len(self._window)

    def _send_waiting(self) -> bool:
        """Send what the socket takes; return whether it is full."""
        while True:
            with self._lock:
                event = self._to_send()
                if event is None:
                    return False
                envelope = self._envelope()
            if not self._send(event, envelope):
                return True
            with self._lock:
                self._window.mark_sent()

    def _to_send(self) -> RunEvent | None:
        """Return the next event; in line behind other taps only the first one, which takes a place there."""
        return None if self._waits and self._window.next_number > 0 else self._window.to_send()

    def _send(self, event: RunEvent, envelope: tap_codec.Envelope) -> bool:
        slot = self._memory.put(envelope.number, event.pixels) if isinstance(event, Frame) else None
        if isinstance(event, Frame) and self._memory.is_full:
            return False
        offer = self._memory.offer(event.plan.plane_bytes) if isinstance(event, RunStarted) else None
        parts = tap_codec.parts_of(event, envelope, token=self._endpoint.token, offer=offer, slot=slot)
        return self._socket.send(parts)

    def _envelope(self) -> tap_codec.Envelope:
        return tap_codec.Envelope(self._name, self._window.next_number, self._window.epoch, time.monotonic_ns())

    def _wait(self, full: bool) -> None:
        if full and not self._memory.is_full:
            self._socket.wait_writable(_FULL_S)
        with self._lock:
            self._asleep = nothing_to_do = self._to_send() is None
        for socket in self._sockets.poll(_LOOK_S if nothing_to_do else _FULL_S if self._memory.is_full else 0):
            self._read(socket)
        self._asleep = False

    def _read(self, socket: Socket) -> None:
        while (received := socket.receive()) is not None:
            self._last_answer, self._has_answered = time.monotonic(), True
            try:
                self._take(received)
            except ProtocolError as error:
                self._n_bad += 1
                if self._n_bad == 1:
                    logger.warning("tap ignores a message (this is logged once): %s", error)

    def _take(self, received: Received) -> None:
        message = tap_protocol.decode_to_tap(received.parts)
        if isinstance(message, tap_protocol.Ack):
            self._acknowledged(message)
        elif isinstance(message, tap_protocol.Refuse):
            self._give_up(message.reason)
        elif not self._stopped:
            self._stopped = True
            self._on_stop("the daemon ordered the end")

    def _give_up(self, reason: str) -> None:
        """The daemon refuses this tap: drop everything, so that the thread ends."""
        logger.warning("the daemon refuses this tap: %s", reason)
        with self._lock:
            self._ended, self._refused = True, len(self._window) > 0
            self._window = SendBuffer()
        self._on_stop(reason)

    def _acknowledged(self, ack: tap_protocol.Ack) -> None:
        self._memory.is_read = ack.reads_memory
        with self._lock:
            if ack.waits and not self._waits:
                logger.info("the daemon records another acquisition first: this one waits in line")
            self._waits = ack.waits
            if ack.waits:
                self._last_wait.note_in_line()
                return
            if ack.next_number > self._window.sent_before:
                said, sent = ack.next_number, self._window.sent_before
                raise ProtocolError(f"the daemon acknowledges {said} messages, but {sent} were sent")
            stored = ack.next_number if isinstance(ack.stored_before, msgspec.UnsetType) else ack.stored_before
            n_waiting = len(self._window) + self._window.n_unreceived
            came = self._window.acknowledge(ack.next_number, stored)
            self._memory.free_before(ack.next_number)
            if len(self._window) + self._window.n_unreceived < n_waiting:
                self._last_wait.note_progress()
            if self._admission is not None:
                self._admission.release(came)
                self._window.keep_at_most(self._admission.spare_bytes)
            if ack.behind and ack.epoch == self._window.epoch:  # an older epoch's gap is being filled already
                self._go_back(ack.next_number)

    def _go_back(self, next_number: int) -> None:
        """Send again what this daemon lacks; one that was started anew does not know this tap."""
        had = self._window.rewind(next_number)
        if next_number < self._window.first_number and self._started is not None:
            self._window.begin_with(self._started)
        if self._admission is not None:
            self._admission.take_back(had)

    def _ping_if_due(self) -> None:
        now = time.monotonic()
        if now - max(self._last_ping, self._last_answer) < _PING_S:
            return
        self._last_ping = now
        with self._lock:
            envelope = self._envelope()
        self._socket.send(tap_protocol.encode(tap_codec.ping(envelope)))
