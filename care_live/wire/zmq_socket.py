"""One ZeroMQ socket: it sends and receives without ever blocking, and identifies the other end."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import zmq
from numpy.typing import NDArray

from care_live.errors import StageError
from care_live.wire import connections
from care_live.wire.arrays import as_bytes
from care_live.wire.connections import ConnectionId, Sending
from care_live.wire.guest import LOCAL, Guest
from care_live.wire.keys import ServerKeys

SocketKind = Literal["xpub", "sub", "router", "dealer"]
Part: TypeAlias = bytes | memoryview | NDArray[Any]

_WINDOWS_UNREACHABLE = (110, 10065)
"""EHOSTUNREACH of Microsoft's C library, with which libzmq is built there, and of its sockets, which Python has."""


SendOutcome = Literal["sent", "full", "gone"]
"""What became of a message: *full*, the peer's queue takes no more; *gone*, the peer's connection is closed."""


def why_not_sent(number: int | None, *, system: str = os.name) -> SendOutcome | None:
    """Return what an error's number says of the peer; None: it says nothing of it."""
    if number in (errno.EHOSTUNREACH, zmq.EHOSTUNREACH, *(_WINDOWS_UNREACHABLE if system == "nt" else ())):
        return "gone"
    return "full" if number == zmq.EAGAIN else None


@dataclass(frozen=True, slots=True)
class Received:
    """One message: its sender, and its parts, which live as long as they are referenced."""

    parts: list[memoryview]
    peer: bytes = b""
    """Routing id of the sender (router only): give it to `Socket.send` as ``to``."""
    guest: Guest = LOCAL
    """The sender by the allow-list; every client on loopback without keys is a local operator."""
    key: str = ""
    """Public key of the sender; empty on loopback without keys."""
    connection: ConnectionId | None = None
    """The sender's; None: not known."""


class Socket:
    """One socket; never blocks but in `wait_writable`."""

    def __init__(self, kind: SocketKind, raw: zmq.Socket[bytes], address: str, server: ServerKeys | None) -> None:
        self._kind, self._raw, self._server = kind, raw, server
        self.address = address
        """Where it is bound or connected, with the port that the system chose for port 0."""

    def send(self, parts: Sequence[Part], *, to: bytes | None = None) -> bool:
        """Send one message; False when the peer's queue is full or the peer has disconnected: then nothing was sent."""
        return self.deliver(parts, to=to) == "sent"

    def deliver(self, parts: Sequence[Part], *, to: bytes | None = None) -> SendOutcome:
        """Send one message, or return why nothing was sent."""
        whole: list[Any] = [*([] if to is None else [to]), *parts]
        try:
            self._raw.send_multipart(whole, flags=zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            if (why := why_not_sent(error.errno)) is not None:
                return why
            raise StageError(f"cannot send on {self.address}: {error}") from error
        return "sent"

    def send_bulk(self, parts: Sequence[Part], *, to: bytes) -> Sending | None:
        """Send one message with arrays and return its state in the network; None: it can't be sent."""
        try:
            whole: list[Any] = [to, *parts]
            tracker = self._raw.send_multipart(whole, flags=zmq.NOBLOCK, copy=False, track=True)
        except zmq.ZMQError as error:
            if why_not_sent(error.errno) is not None:
                return None
            raise StageError(f"cannot send on {self.address}: {error}") from error
        assert tracker is not None
        return Sending(sum(as_bytes(part).nbytes for part in parts), tracker)

    def is_allowed(self, key: str) -> bool:
        """Return whether the owner of a public key is (still) on the allow-list; without keys: yes."""
        return self._server is None or self._server.allowed.guest(key) is not None

    def cut(self, connection: ConnectionId | None) -> bool:
        """Break the connection of one peer, with all that waits to be sent to it; return whether there was one."""
        return connection is not None and connections.cut(connection, self._raw.getsockopt_string(zmq.LAST_ENDPOINT))

    def receive(self) -> Received | None:
        """Return the next message, or None: nothing is there, or its sender is no longer allowed."""
        try:
            frames = self._raw.recv_multipart(flags=zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            raise StageError(f"cannot receive on {self.address}: {error}") from error
        guest = self._guest(frames[-1])
        if guest is None:
            return None
        parts = [memoryview(frame.buffer) for frame in frames]
        if self._kind == "router":
            return Received(
                parts[1:], bytes(parts[0]), guest, _property(frames[-1], "User-Id"), _connection(frames[-1])
            )
        return Received(parts, guest=guest, connection=_connection(frames[-1]))

    def _guest(self, frame: zmq.Frame) -> Guest | None:
        if self._server is None:
            return LOCAL
        try:
            return self._server.allowed.guest(str(frame.get("User-Id")))
        except zmq.ZMQError:  # not sent by the peer: libzmq makes up an unsubscription when a peer disconnects
            return LOCAL if self._kind == "xpub" else None

    def wait_writable(self, timeout_s: float) -> bool:
        """Wait until a message can be sent (dealer: until the queue takes one)."""
        return bool(self._raw.poll(int(timeout_s * 1000), zmq.POLLOUT))

    def subscribe(self, topic: bytes) -> None:
        self._raw.setsockopt(zmq.SUBSCRIBE, topic)

    def close(self, linger_s: float = 0.0) -> None:
        self._raw.close(linger=int(linger_s * 1000))


def _property(frame: zmq.Frame, name: str) -> str:
    """Return what ZeroMQ knows of the connection that brought a message; empty: nothing."""
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""


def _connection(frame: zmq.Frame) -> ConnectionId | None:
    number = _property(frame, "__fd")
    return connections.identify(int(number)) if number.isdecimal() else None
