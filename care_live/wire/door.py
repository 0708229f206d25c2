"""The door before a server's socket: takes TCP connections within a budget and relays them; owns one thread.

What the budget refuses never reaches ZeroMQ: more connections than a place may have, and bytes that come faster than
the requests of a viewer need. See relay.py for what happens to a client that disconnects.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import selectors
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

from care_live.wire.address import address_of
from care_live.wire.relay import CHUNK_BYTES, READ, Budget, Relayed

logger = logging.getLogger(__name__)

_TURN_S = 1.0
_THROTTLED_S = 0.05
_ACCEPT_AGAIN_S = 0.5
_SAY_AGAIN_S = 60.0
_CONNECT_S = 0.5
_KEEPALIVE = {"TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}


class Door:
    """Accepts clients, and connects each to the server behind.

    Parameters
    ----------
    listener : bound and listening; the door closes it
    connect : returns a new connection to the server behind, or raises OSError
    budget : what clients get
    """

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket], budget: Budget) -> None:
        self._listener, self._connect, self._budget = listener, connect, budget
        self.address = address_of(listener)
        self._selector = selectors.DefaultSelector()
        self._watched: dict[socket.socket, int] = {}
        self._relayed: dict[socket.socket, Relayed] = {}
        """By the server's end."""
        self._by_address: Counter[str] = Counter()
        self._scratch = memoryview(bytearray(CHUNK_BYTES))
        self._bell, self._ear = socket.socketpair()
        self._close_by_s: float | None = None
        self._cut = False
        self._accept_s = 0.0
        self._said_s = -_SAY_AGAIN_S
        self.error: Exception | None = None
        """Why no more clients are served."""
        self.n_turned_away = 0
        """Connections over the budget."""
        for end in (listener, self._ear):
            end.setblocking(False)
            self._selector.register(end, READ)
        self._thread = threading.Thread(target=self._run, name=f"door {self.address}")
        self._thread.start()

    def close(self, within_s: float, *, cut: bool = False) -> None:
        """End the thread once the server has closed its connections, at the latest after `within_s`.

        Until then clients still receive what the server has sent; with `cut` they receive no more.
        """
        self._cut, self._close_by_s = cut, time.monotonic() + within_s
        with contextlib.suppress(OSError):  # the thread has ended by itself
            self._bell.send(b"!")
        self._thread.join(within_s + 5.0)
        self._bell.close()

    def _run(self) -> None:
        try:
            while not self._is_done():
                ready = self._selector.select(self._turn_s())
                now_s = time.monotonic()
                for key, events in ready:
                    self._serve(key, events, now_s)
                self._look(now_s)
        except Exception as error:  # the thread boundary: the server gets the error when it polls
            logger.exception("port closed")
            self.error = error
        finally:
            for relayed in self._relayed.values():
                relayed.close()
            self._selector.close()
            self._listener.close()
            self._ear.close()

    def _is_done(self) -> bool:
        if self._close_by_s is None:
            return False
        return not self._relayed or time.monotonic() >= self._close_by_s

    def _turn_s(self) -> float:
        if self._close_by_s is not None:
            return _THROTTLED_S
        return _THROTTLED_S if any(relayed.throttled for relayed in self._relayed.values()) else _TURN_S

    def _serve(self, key: selectors.SelectorKey, events: int, now_s: float) -> None:
        if key.fileobj is self._listener:
            self._accept(now_s)
        elif key.fileobj is self._ear:
            self._stop_accepting()
        else:
            relayed: Relayed = key.data
            if relayed.server not in self._relayed:  # its other end was ready too, and ended it
                return
            if key.fileobj is relayed.client:
                relayed.serve_client(events, now_s, self._scratch)
            else:
                relayed.serve_server(events, now_s, self._scratch)
            self._settle(relayed)

    # -- one connection ---------------------------------------------------------------------------------------------

    def _accept(self, now_s: float) -> None:
        try:
            client, peer = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # no descriptor is left: present connections stay
            self._say(f"cannot take a connection: {error}", now_s)
            self._selector.unregister(self._listener)
            self._accept_s = now_s + _ACCEPT_AGAIN_S
            return
        address = str(peer[0])
        if (why := self._too_many(address)) is not None:
            self.n_turned_away += 1
            self._say(f"connection from {address} refused: {why}", now_s)
            client.close()
            return
        self._take_in(client, address, now_s)

    def _too_many(self, address: str) -> str | None:
        if len(self._relayed) >= self._budget.connections:
            return f"{self._budget.connections} are open, the most this port serves"
        if self._by_address[address] >= self._budget.per_address:
            return f"{self._budget.per_address} are open from that address, the most that one may have"
        return None

    def _take_in(self, client: socket.socket, address: str, now_s: float) -> None:
        try:
            tune(client, self._budget.stuck_s)
            client.setblocking(False)
            server = self._connect()
        except OSError as error:
            self._say(f"connection from {address} cannot be served: {error}", now_s)
            client.close()
            return
        server.setblocking(False)
        relayed = Relayed(client, server, address, self._budget.allowance(), now_s)
        self._relayed[server] = relayed
        self._by_address[address] += 1
        self._settle(relayed)

    def _settle(self, relayed: Relayed) -> None:
        """Wait for what each end has to do next; close ends that have disconnected."""
        if relayed.is_over:
            self._drop(relayed)
            return
        self._watch(relayed.client, relayed.client_events(), relayed)
        self._watch(relayed.server, relayed.server_events(), relayed)
        if relayed.client_is_gone:
            relayed.client.close()

    def _drop(self, relayed: Relayed) -> None:
        for end in (relayed.client, relayed.server):
            self._watch(end, 0, relayed)
        relayed.close()
        del self._relayed[relayed.server]
        self._by_address[relayed.address] -= 1
        self._by_address += Counter()  # drops addresses without connections

    def _watch(self, end: socket.socket, events: int, relayed: Relayed) -> None:
        before = self._watched.get(end, 0)
        if events == before:
            return
        if not events:
            self._selector.unregister(end)
            del self._watched[end]
            return
        (self._selector.modify if before else self._selector.register)(end, events, relayed)
        self._watched[end] = events

    # -- time ---------------------------------------------------------------------------------------------------------

    def _look(self, now_s: float) -> None:
        """Disconnect clients that take nothing, and let those continue that have waited long enough."""
        if self._accept_s and now_s >= self._accept_s and self._close_by_s is None:
            self._accept_s = 0.0
            self._selector.register(self._listener, READ)
        for relayed in list(self._relayed.values()):
            if relayed.to_client and now_s - relayed.moved_s > self._budget.stuck_s:
                relayed.lose_client()
            elif relayed.throttled and relayed.may_read(now_s):
                relayed.throttled = False
            else:
                continue
            self._settle(relayed)

    def _stop_accepting(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(64)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self._listener)
        self._listener.close()
        for relayed in list(self._relayed.values()) if self._cut else []:
            relayed.lose_client()
            self._settle(relayed)

    def _say(self, what: str, now_s: float) -> None:
        """Warn, at most once a minute: a client must not fill the disk with its attempts."""
        if now_s - self._said_s >= _SAY_AGAIN_S:
            self._said_s = now_s
            logger.warning("%s (%d so far)", what, self.n_turned_away)


class Behind:
    """The private end of a door, where its server binds and which only this process can reach.

    On Linux it has no name in the file system, and libzmq gets the connecting process from the system; elsewhere it is
    a port that the system chose on the loopback interface.
    """

    def __init__(self) -> None:
        self.on_linux = sys.platform == "linux"
        self.endpoint = f"ipc://@care-live-{secrets.token_hex(16)}" if self.on_linux else "tcp://127.0.0.1:*"

    def connect(self) -> socket.socket:
        if sys.platform == "linux":
            return self._connect_by_name()
        else:
            host, port = self.endpoint.removeprefix("tcp://").rsplit(":", 1)
            return socket.create_connection((host, int(port)), timeout=_CONNECT_S)

    if sys.platform == "linux":

        def _connect_by_name(self) -> socket.socket:
            server = socket.socket(socket.AF_UNIX)
            try:
                server.settimeout(_CONNECT_S)
                server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * CHUNK_BYTES)
                server.connect(self.endpoint.replace("ipc://@", "\0"))
            except OSError:
                server.close()
                raise
            return server


def tune(client: socket.socket, lost_s: float) -> None:
    """Let the system notice that a client's machine has vanished, and send small messages at once."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            client.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if sys.platform == "linux":
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(lost_s * 1000))
