"""A watcher's connection: made anew after an unreadable message, with growing pauses while none can be read."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence

from care_live.wire.arrays import Buffer
from care_live.wire.sockets import Received, Socket, Sockets

logger = logging.getLogger(__name__)

FIRST_S, MOST_S = 0.2, 30.0
"""The first pause before a new connection, and the longest."""


class Backoff:
    """Pauses that double from one failure to the next, each shortened at random by up to a half. Pure.

    Many watchers that fail at the same message then do not connect at the same moment.
    """

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._n_failures = 0

    def fail(self) -> float:
        """Return the seconds to wait after one more failure."""
        pause_s = min(MOST_S, FIRST_S * 2.0 ** min(self._n_failures, 20))
        self._n_failures += 1
        return pause_s * (1.0 - self._chance() / 2)

    def succeed(self) -> None:
        self._n_failures = 0


class WatcherLink:
    """The DEALER of a subscriber; used by one thread.

    Parameters
    ----------
    sockets : of the subscriber
    address : the daemon's ``bind_pull``

    Raises
    ------
    ConfigError
        The address is invalid.
    """

    def __init__(self, sockets: Sockets, address: str) -> None:
        self._sockets, self._address = sockets, address
        self._backoff = Backoff()
        self._again_s = 0.0
        self._socket: Socket | None = self._connect()
        self.is_new = True
        """No request was sent on this connection yet."""
        self.n_damaged = 0
        """Messages that could not be read."""

    @property
    def wait_s(self) -> float:
        """Seconds until the next connection is made; infinite while there is one."""
        return float("inf") if self._socket is not None else max(0.0, self._again_s - time.monotonic())

    def receive(self) -> Received | None:
        """Return the next message, or None; makes the connection anew when it is time."""
        if self._socket is None and self.wait_s == 0.0:
            self._socket, self.is_new = self._connect(), True
        return None if self._socket is None else self._socket.receive()

    def send(self, parts: Sequence[Buffer]) -> None:
        """Send a request; between two connections it is dropped, and will be repeated."""
        if self._socket is not None:
            self._socket.send(parts)

    def break_off(self, why: Exception) -> None:
        """Disconnect, and connect again later."""
        self.n_damaged += 1
        pause_s = self._backoff.fail()
        log = logger.warning if self.n_damaged == 1 else logger.debug
        log("message unreadable address=%s error=%s; connecting again in %.1f s", self._address, why, pause_s)
        if self._socket is not None:
            self._sockets.drop(self._socket)
        self._socket, self._again_s = None, time.monotonic() + pause_s

    def get_on(self) -> None:
        """A message of the run could be read: the next pause is the shortest."""
        self._backoff.succeed()

    def _connect(self) -> Socket:
        return self._sockets.connect("dealer", self._address, hwm=64)
