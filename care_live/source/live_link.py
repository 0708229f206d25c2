"""The daemon's end of Live: asks the camera's end, on any machine, for its newest frame when one is wanted."""

from __future__ import annotations

import logging
import math
import threading
import time

from care_live.errors import CareLiveError, ConfigError, ProtocolError, StageError
from care_live.live_frame import LatestFrame
from care_live.source import live_protocol
from care_live.wire.keys import ServerKeys
from care_live.wire.relay import Budget
from care_live.wire.sockets import Received, Sockets
from care_live.wire.tap_protocol import FRAME_BYTES

logger = logging.getLogger(__name__)

CAMERAS = Budget(connections=24, per_address=12, bytes_per_s=None)
_LOOK_S = 0.5
AGAIN_S = 1.0
"""After this time without a frame the camera's end is asked again: it may have been started anew."""
_CLOSE_S = 5.0


class LiveLink:
    """A thread that fills a `LatestFrame`; the camera's end that reported last is the one that is asked.

    Parameters
    ----------
    bind : ``tcp://HOST:PORT``
    keys : CURVE keys; None: the address is loopback

    Raises
    ------
    ConfigError
        The address is taken, or is not loopback and there are no keys.
    """

    def __init__(self, bind: str, keys: ServerKeys | None = None) -> None:
        self._sockets = Sockets(server=keys)
        self.frames = LatestFrame(on_wanted=self._sockets.wake)
        """The newest frame, on demand."""
        try:
            limit = FRAME_BYTES
            self._socket = self._sockets.bind("router", bind, hwm=2, max_message_bytes=limit, budget=CAMERAS)
        except ConfigError:
            self._sockets.close()
            raise
        self.address = self._socket.address
        """Where a camera's end connects, with the port that the system chose."""
        self._peer: bytes | None = None
        self._offset_ns: int | None = None
        self._asked_s = -math.inf
        self._n_bad = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._main, name="live link")
        self._thread.start()

    def close(self) -> None:
        """End the thread.

        Raises
        ------
        StageError
            It does not end in time.
        """
        self._closing.set()
        self.frames.close()
        self._sockets.wake()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            raise StageError(f"the link of Live did not end within {_CLOSE_S:g} s; end the process")

    def _main(self) -> None:
        try:
            while not self._closing.is_set():
                self._ask()
                self._sockets.poll(_LOOK_S)
                while (received := self._socket.receive()) is not None:
                    self._take(received)
        except CareLiveError as error:
            logger.error("live ends: %s", error)
        finally:
            self._sockets.close()

    def _ask(self) -> None:
        """Ask for a frame where one is wanted and none is under way."""
        now_s = time.monotonic()
        if self._peer is None or not self.frames.is_wanted or now_s - self._asked_s < AGAIN_S:
            return
        if self._socket.send(live_protocol.wanted(), to=self._peer):
            self._asked_s = now_s

    def _take(self, received: Received) -> None:
        try:
            if not received.guest.may("operator"):
                raise ProtocolError(f"{received.guest.name} is a {received.guest.role}; only an operator sends frames")
            is_new = received.peer != self._peer
            frame, self._offset_ns = live_protocol.read(
                received.parts, received_ns=time.monotonic_ns(), offset_ns=None if is_new else self._offset_ns
            )
        except ProtocolError as error:
            self._n_bad += 1
            if self._n_bad & (self._n_bad - 1) == 0:  # the 1st, 2nd, 4th…
                logger.warning("live message dropped: %s (%d so far)", error, self._n_bad)
            return
        self._peer = received.peer
        if frame is not None or is_new:
            self._asked_s = -math.inf
        if frame is not None:
            self.frames.put(frame)
