"""The sockets of one thread, bounded and locked; only this module and `zmq_socket` use ZeroMQ.

Every socket has a small high-water mark, no linger, a limit on what the other end may send, a deadline for its
handshake, and TCP keep-alives; the protocols notice a connected peer that sends nothing. Anything but loopback needs
CURVE keys. ``Sockets`` belongs to the thread that uses it; other threads may only call ``wake``.

A sent array is shared, not copied, until ZeroMQ has put it on the network: it must never change again.
"""

from __future__ import annotations

import contextlib
import os
import socket as bsd
import threading
from collections.abc import Iterator

import zmq
import zmq.utils.z85

from care_live.errors import ConfigError, StageError
from care_live.wire.address import address_of, is_loopback, listen
from care_live.wire.door import Behind, Door
from care_live.wire.keys import ClientKeys, KeyPair, ServerKeys
from care_live.wire.relay import Budget
from care_live.wire.zmq_socket import Received, SendOutcome, Socket, SocketKind

__all__ = ["Received", "SendOutcome", "Socket", "SocketKind", "Sockets", "new_pair"]

CONTROL_BYTES = 64 * 1024
"""The longest message that a server takes from its clients by default."""
SUBSCRIPTIONS = 1000
"""A subscriber may have this many in flight: libzmq drops one that has no place, without an error."""
BULK_BYTES = 2 * 1024**3
"""The longest array that a client takes."""

_KINDS = {"xpub": zmq.XPUB, "sub": zmq.SUB, "router": zmq.ROUTER, "dealer": zmq.DEALER}
LINK_S = 10
"""TCP gives up a peer whose system answers neither data nor keep-alives for this long."""

_HANDSHAKE_MS, _CONNECT_MS = 2000, 3000
_LAST_WORDS_S = 0.5
"""How long clients may take to receive the last messages of a server that closes."""
_KEEPALIVE = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: LINK_S - 6,
    zmq.TCP_KEEPALIVE_INTVL: 2,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.TCP_MAXRT: LINK_S * 1000,
}
"""The system, and not ZMTP, checks whether the other machine still answers: libzmq (4.3.5) aborts the whole process
when a heartbeat is due on a connection whose peer disconnected while its messages waited to be read."""


class Sockets:
    """All sockets of one thread, the poll that serves them, and a wake-up for other threads."""

    def __init__(self, *, server: ServerKeys | None = None, client: ClientKeys | None = None) -> None:
        self._server, self._client = server, client
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._sockets: dict[object, Socket] = {}
        self._doors: dict[object, Door] = {}
        self._bell, self._ear = bsd.socketpair()
        self._bell_lock = threading.Lock()
        for end in (self._bell, self._ear):
            end.setblocking(False)
        self._poller.register(self._ear, zmq.POLLIN)
        self._bell_poller = zmq.Poller()
        self._bell_poller.register(self._ear, zmq.POLLIN)
        self._zap = self._open_zap() if server else None

    def bind(
        self,
        kind: SocketKind,
        address: str,
        *,
        hwm: int = 2,
        max_message_bytes: int = CONTROL_BYTES,
        budget: Budget | None = None,
    ) -> Socket:
        """Bind a socket of a server, behind a door that keeps clients within a budget.

        Raises
        ------
        ConfigError
            The address is invalid, is taken, or is reachable from other machines and there are no keys.
        """
        if self._server is None and not is_loopback(address):
            raise ConfigError(
                f"{address} can be reached from other machines: set server_key_file and authorized_keys_file "
                "(make them with care-live keys), or bind to tcp://127.0.0.1:PORT"
            )
        listener, behind = listen(address), Behind()
        address = address_of(listener)
        raw = self._open(kind, address, hwm, max_message_bytes)
        if kind == "router":
            raw.setsockopt(zmq.ROUTER_MANDATORY, 1)  # so that a full queue is an error, not a silent drop
            raw.copy_threshold = 0  # each part is shared until the network has it, so that `Sending` knows when
        if behind.on_linux:
            raw.setsockopt(zmq.IPC_FILTER_PID, os.getpid())
        with _translated(raw, address, "bind to"):
            raw.bind(behind.endpoint)
        behind.endpoint = raw.getsockopt_string(zmq.LAST_ENDPOINT)
        self._doors[raw] = Door(listener, behind.connect, budget or Budget())
        return self._adopt(kind, raw, address)

    def connect(
        self,
        kind: SocketKind,
        address: str,
        *,
        hwm: int = 2,
        max_message_bytes: int = BULK_BYTES,
    ) -> Socket:
        """Connect a socket of a client; ZeroMQ connects again by itself whenever the link breaks.

        Raises
        ------
        ConfigError
            The address is invalid.
        """
        is_loopback(address)  # is an address at all
        raw = self._open(kind, address, hwm, max_message_bytes)
        raw.setsockopt(zmq.RECONNECT_IVL, 100)
        raw.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        raw.setsockopt(zmq.CONNECT_TIMEOUT, _CONNECT_MS)
        with _translated(raw, address, "connect to"):
            raw.connect(address)
        return self._adopt(kind, raw, address)

    def poll(self, timeout_s: float | None) -> list[Socket]:
        """Wait for messages, at most for this time (None: for ever); return the sockets that have some.

        An empty list means that the time is over or that `wake` was called. Requests of clients to be admitted (ZAP)
        are answered here, so a server must call it at least every second.

        Raises
        ------
        StageError
            A port serves no more clients.
        """
        for door in self._doors.values():
            if door.error is not None:
                raise StageError(f"{door.address} serves no more clients: {door.error}") from door.error
        ready = dict(self._poller.poll(None if timeout_s is None else max(0, int(timeout_s * 1000))))
        if self._ear.fileno() in ready or self._ear in ready:
            with contextlib.suppress(BlockingIOError):
                self._ear.recv(4096)
        if self._zap is not None and self._zap in ready:
            self._answer_zap(self._zap)
        return [self._sockets[raw] for raw in ready if raw in self._sockets]

    def rest(self, timeout_s: float) -> None:
        """Wait for `wake` only: messages, of which too many come, stay where they are."""
        if self._bell_poller.poll(max(0, int(timeout_s * 1000))):
            with contextlib.suppress(BlockingIOError):
                self._ear.recv(4096)

    def wake(self) -> None:
        """Make `poll` return at once; from any thread, at any time, also after `close`."""
        with self._bell_lock, contextlib.suppress(OSError):  # a wake-up waits already
            self._bell.send(b"!")

    def drop(self, socket: Socket) -> None:
        """Close one socket; its address is free again."""
        self._sockets.pop(socket._raw, None)
        self._poller.unregister(socket._raw)
        socket.close()
        if (door := self._doors.pop(socket._raw, None)) is not None:
            door.close(_LAST_WORDS_S, cut=True)

    def close(self, linger_s: float = 0.0) -> None:
        """Close everything; what is not sent within `linger_s` is dropped."""
        for socket in self._sockets.values():
            socket.close(linger_s)
        if self._zap is not None:
            self._zap.close(linger=0)
        self._context.term()
        for door in self._doors.values():
            door.close(_LAST_WORDS_S)
        with self._bell_lock:
            self._bell.close()
            self._ear.close()

    def __enter__(self) -> Sockets:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self, kind: SocketKind, address: str, hwm: int, limit_bytes: int) -> zmq.Socket[bytes]:
        raw = self._context.socket(_KINDS[kind])
        raw.set_hwm(hwm)
        if kind == "sub":
            raw.setsockopt(zmq.SNDHWM, SUBSCRIPTIONS)
        raw.setsockopt(zmq.LINGER, 0)
        raw.setsockopt(zmq.MAXMSGSIZE, limit_bytes)
        raw.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        for option, value in _KEEPALIVE.items():
            raw.setsockopt(option, value)
        raw.setsockopt(zmq.IPV6, int("[" in address))
        if self._server:
            _lock(raw, self._server.own)
            raw.curve_server = True
            raw.zap_domain = b"care-live"
        elif self._client:
            _lock(raw, self._client.own)
            raw.curve_serverkey = self._client.server_public.encode()
        return raw

    def _adopt(self, kind: SocketKind, raw: zmq.Socket[bytes], address: str) -> Socket:
        socket = Socket(kind, raw, address, self._server)
        self._sockets[raw] = socket
        self._poller.register(raw, zmq.POLLIN)
        return socket

    def _open_zap(self) -> zmq.Socket[bytes]:
        zap = self._context.socket(zmq.REP)
        zap.setsockopt(zmq.LINGER, 0)
        zap.bind("inproc://zeromq.zap.01")
        self._poller.register(zap, zmq.POLLIN)
        return zap

    def _answer_zap(self, zap: zmq.Socket[bytes]) -> None:
        """Answer one client as in https://rfc.zeromq.org/spec/27: the guest's public key becomes its user id."""
        request = zap.recv_multipart()
        version, request_id = request[0], request[1]
        public = zmq.utils.z85.encode(request[6]).decode() if request[5:6] == [b"CURVE"] else ""
        allowed = self._server is not None and self._server.allowed.guest(public) is not None
        status, text = (b"200", b"OK") if allowed else (b"400", b"not on the allow-list")
        zap.send_multipart([version, request_id, status, text, public.encode() if allowed else b"", b""])


def new_pair() -> KeyPair:
    """Return a new CURVE key pair, whose public half does not look like an option of a command line."""
    while True:
        public, secret = zmq.curve_keypair()
        if not public.startswith(b"-"):
            return KeyPair(public.decode(), secret.decode())


def _lock(raw: zmq.Socket[bytes], pair: KeyPair) -> None:
    if not zmq.has("curve") or zmq.zmq_version_info() < (4, 3, 3):
        raise ConfigError(f"libzmq {zmq.zmq_version()} has no safe CURVE: install pyzmq's own wheels (>= 26)")
    raw.curve_publickey = pair.public.encode()
    raw.curve_secretkey = pair.secret.encode()


@contextlib.contextmanager
def _translated(raw: zmq.Socket[bytes], address: str, doing: str) -> Iterator[None]:
    try:
        yield
    except zmq.ZMQError as error:
        raw.close(linger=0)
        if error.errno == zmq.EADDRINUSE:
            raise ConfigError(f"{address} is taken by another program: stop that one, or set another port") from error
        raise ConfigError(f"cannot {doing} {address}: {error}") from error
