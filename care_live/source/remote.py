"""The daemon's end of the link: a tap, on this or another machine, sends the frames."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from care_live.awake_clock import AwakeClock
from care_live.config import RemoteConfig
from care_live.errors import ConfigError, ProtocolError
from care_live.images import RunEnded, SourceEvent, StillAcquiring
from care_live.source.receiver import Receiver
from care_live.source.tap_line import TapLine
from care_live.wire import tap_protocol
from care_live.wire.keys import read_server
from care_live.wire.relay import Budget
from care_live.wire.sockets import Received, Sockets

logger = logging.getLogger(__name__)

_SILENT_S = 30.0
"""A tap pings every second; after this silence it counts as lost."""
_PAUSE_S = 2.0
"""After this the link may be cut: the planes that an open volume lacks may wait in the tap."""
_STOP_S = 20.0
"""How long a tap may take to abort its acquisition."""
_TURN_S = 0.5
"""How often the door is checked while nothing comes."""
_OWED_S = 0.002
_SETTLE_S = 1.0
_QUEUED_MESSAGES = 4
_MAX_BAD_IN_A_ROW = 20
_MESSAGES_A_TURN = 64
_REST_S = 0.005
"""Pause after that many messages in a row without an event: a flood costs less than a quarter of a processor."""
TAPS = Budget(connections=24, per_address=12, bytes_per_s=None)
"""One tap sends; the others are those that it left behind when it connected again."""


class Remote:
    """Waits for one tap, and gives its run's events.

    It has no thread: messages wait in the socket until `next_event` reads them, so a slow daemon slows the link and not
    the acquisition, and the tap's memory is the only queue.

    Parameters
    ----------
    until_stored : the tap keeps its frames until `stored` says that they are safe
    line : where taps wait that come during another one's run; None: they are refused
    clock_ns : monotonic nanoseconds; None: the system's

    Raises
    ------
    ConfigError
        The address is taken, or is not loopback and there are no keys.
    """

    def __init__(
        self,
        config: RemoteConfig,
        *,
        run_id: str,
        token: str = "",
        until_stored: bool = False,
        silent_s: float = _SILENT_S,
        stop_s: float = _STOP_S,
        line: TapLine | None = None,
        clock_ns: Callable[[], int] | None = None,
    ) -> None:
        self._line = line
        self._config, self._token, self._until_stored = config, token, until_stored
        self._receiver = self._receiver_of(run_id)
        self._silent_s, self._stop_s = silent_s, stop_s
        self._sockets = Sockets(server=read_server(config.server_key_file, config.authorized_keys_file))
        try:
            self._socket = self._sockets.bind(
                "router", config.bind, hwm=_QUEUED_MESSAGES, max_message_bytes=tap_protocol.FRAME_BYTES, budget=TAPS
            )
        except ConfigError:
            self._sockets.close()
            raise
        self.address = self._socket.address
        """Where a tap can connect, with the port that the system chose."""
        self._stopping = threading.Event()
        self._stop_sent: float | None = None
        self._stop_until = 0.0
        self._clock = AwakeClock(clock_ns)
        self._received_s = self._waited_on_s = self._now_s()
        self._peer: bytes | None = None
        self._bad_in_a_row = 0
        self._broken = ""
        self._owed: tuple[bytes, tap_protocol.ToTap] | None = None
        self._ended = self._closed = False

    @property
    def has_begun(self) -> bool:
        """Whether a tap has announced its run."""
        return self._receiver.has_begun

    def next_event(self, timeout_s: float) -> SourceEvent | None:
        deadline = time.monotonic() + timeout_s
        while True:
            self._pass_on_stop()
            event = self._stopped() or self._receive() or self._given_up() or self._while_silent()
            if event is not None and not self._ended:
                if isinstance(event, RunEnded):
                    self._ended = True
                    self._settle()
                return event
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._pay()
            self._sockets.poll(min(left, _TURN_S) if self._owed is None else _OWED_S)

    def stored(self, before: int) -> None:
        """Note that the frames that arrived before this one are safe: the tap may forget them."""
        self._receiver.store(before)
        if self._ended and self._peer is not None:  # no frame follows, whose answer would say so
            self._answer(self._peer, self._receiver.acknowledgement())

    def begin_anew(self, run_id: str) -> None:
        """Wait for the next tap, after the end of a run."""
        self._receiver.close()
        self._receiver = self._receiver_of(run_id, finished=self._receiver.finished)
        self._stop_sent, self._peer, self._owed = None, None, None
        self._bad_in_a_row, self._broken = 0, ""
        self._ended = False
        if self._line is not None:
            self._line.listen_again()
            self._call(self._line.first())

    def _call(self, first: tuple[bytes, int] | None) -> None:
        """Let the tap begin whose turn it is."""
        if first is not None:
            peer, epoch = first
            call = tap_protocol.Ack(next_number=0, epoch=epoch, behind=True)
            self._socket.send(tap_protocol.encode(call), to=peer)

    def _receiver_of(self, run_id: str, finished: tuple[str, ...] = ()) -> Receiver:
        return Receiver(
            run_id=run_id,
            token=self._token,
            z_planes=self._config.z_planes,
            until_stored=self._until_stored,
            finished=finished,
            line=self._line,
        )

    def stop(self) -> None:
        self._stopping.set()
        self._sockets.wake()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._pay()
            self._sockets.close()
            self._receiver.close()

    # -- one message --------------------------------------------------------------------------------------------

    def _receive(self) -> SourceEvent | None:
        """Return the event of the next message that carries one; None: not among those that wait, or not soon."""
        for _ in range(_MESSAGES_A_TURN):
            received = self._socket.receive()
            if received is None:
                return None
            event = self._take(received)
            if event is not None:
                return event
        self._stopping.wait(_REST_S)
        return None

    def _take(self, received: Received) -> SourceEvent | None:
        try:
            if not received.guest.may("operator"):
                raise ProtocolError(f"{received.guest.name} is a {received.guest.role}; only an operator sends frames")
            message, pixels = tap_protocol.decode_from_tap(received.parts)
            taken = self._receiver.take(message, pixels, now_ns=time.monotonic_ns())
        except ProtocolError as error:
            self._bad(error, received)
            return None
        if isinstance(taken.answer, tap_protocol.Ack) and taken.answer.waits and self._line is not None:
            if message.number > 0 or not isinstance(message, tap_protocol.TapPing):  # else it may never acquire
                self._line.note(message.tap, received.peer, message.epoch)
        elif isinstance(taken.answer, tap_protocol.Ack):
            self._received_s, self._peer = self._now_s(), received.peer
        if taken.event is not None:
            self._bad_in_a_row = 0
            if self._line is not None:
                self._line.leave(message.tap)
        self._answer(received.peer, taken.answer)
        return taken.event

    def _bad(self, error: ProtocolError, received: Received) -> None:
        """Count invalid messages; refuse other clients at once, and the tap that sends after some in a row."""
        n_bad = self._receiver.n_bad = self._receiver.n_bad + 1
        if n_bad & (n_bad - 1) == 0:  # the 1st, 2nd, 4th…: a flood must not fill the log
            logger.warning("message dropped: %s (%d so far)", error, n_bad)
        is_the_tap = self.has_begun and received.peer == self._peer
        self._bad_in_a_row += is_the_tap
        if is_the_tap and self._bad_in_a_row < _MAX_BAD_IN_A_ROW:
            return
        self._broken = str(error) if is_the_tap else self._broken
        self._answer(received.peer, tap_protocol.Refuse(reason=str(error)[: tap_protocol.MAX_TEXT]))

    def _answer(self, peer: bytes, answer: tap_protocol.ToTap) -> None:
        """Answer now, or the tap that sends as soon as the queue takes it; the newest answer includes older ones."""
        if peer == self._peer:
            self._owed = peer, answer
            self._pay()
        else:
            self._socket.send(tap_protocol.encode(answer), to=peer)

    def _pay(self) -> None:
        if self._owed is not None and self._socket.send(tap_protocol.encode(self._owed[1]), to=self._owed[0]):
            self._owed = None

    def _settle(self) -> None:
        """Answer the last message before the source ends: the tap waits for it."""
        until = time.monotonic() + _SETTLE_S
        self._pay()
        while self._owed is not None and time.monotonic() < until:
            self._sockets.poll(_OWED_S)
            self._pay()
        self._owed = None

    def _now_s(self) -> float:
        return self._clock() / 1e9

    # -- the end ------------------------------------------------------------------------------------------------

    def _pass_on_stop(self) -> None:
        """Order the tap to stop, again every second until its end comes."""
        now = self._now_s()
        if not self._stopping.is_set() or self._peer is None:
            return
        if self._stop_sent is None:
            self._stop_until = now + self._stop_s
        if self._stop_sent is None or now - self._stop_sent > 1.0:
            self._stop_sent = now
            self._answer(self._peer, tap_protocol.TapStop())

    def _stopped(self) -> RunEnded | None:
        """End the run of a tap that does not stop, also while its frames go on coming."""
        if self._stop_sent is not None and self._now_s() > self._stop_until:
            return RunEnded("aborted", f"the tap did not end within {self._stop_s:.0f} s of the order to stop")
        return None

    def _given_up(self) -> RunEnded | None:
        """End the run of a tap that is broken or lost, once none of its messages waits."""
        if self._broken:
            return RunEnded("failed", f"the tap sent {_MAX_BAD_IN_A_ROW} broken messages in a row: {self._broken}")
        if self._stopping.is_set() and self._peer is None:
            return RunEnded("aborted", "stopped before a tap came")
        if self.has_begun and self._now_s() - self._received_s > self._silent_s:
            return RunEnded(
                "failed", f"nothing was received from the tap for {self._silent_s:.0f} s: the tap or its link is lost"
            )
        return None

    def _while_silent(self) -> StillAcquiring | None:
        """Let open volumes wait while nothing comes from the tap; it sends their planes when it is back."""
        now = self._now_s()
        if not self.has_begun or now - max(self._received_s, self._waited_on_s) < _PAUSE_S:
            return None
        self._waited_on_s = now
        return StillAcquiring()
