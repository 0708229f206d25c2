"""One client's connection, passed on between the network and the socket that serves it. No thread of its own.

The server learns that a client has disconnected only when it has read all that the client sent. libzmq (4.3.5)
relies on that: it aborts its process when a connection breaks while messages wait to be read and a ZMTP ping is
among them.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from dataclasses import dataclass, field

from care_live.wire.token_bucket import TokenBucket

CHUNK_BYTES = 512 * 1024
_TICK_BYTES = 4096
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of a port and of each client."""

    connections: int = 128
    """At once, all together."""
    per_address: int = 64
    """At once, from one address; all programs of this machine share one."""
    bytes_per_s: float | None = 128 * 1024
    """From each client, on average; one that sends more waits. None: as fast as the server reads."""
    burst_bytes: int = 1024 * 1024
    """From each client, at once."""
    stuck_s: float = 20.0
    """A client that takes nothing for this long although something waits for it is disconnected."""

    def allowance(self) -> TokenBucket | None:
        """Return the bytes that one client may send; None: as many as the server reads."""
        return None if self.bytes_per_s is None else TokenBucket(self.bytes_per_s, self.burst_bytes)


@dataclass(slots=True, eq=False)
class Relayed:
    """A client, the server behind, and what one of them has sent and the other has not taken yet."""

    client: socket.socket
    server: socket.socket
    address: str
    allowance: TokenBucket | None
    moved_s: float
    """When the client last took something."""
    to_server: memoryview = field(default_factory=lambda: memoryview(b""))
    to_client: memoryview = field(default_factory=lambda: memoryview(b""))
    client_is_gone: bool = False
    server_is_gone: bool = False
    throttled: bool = False

    @property
    def is_over(self) -> bool:
        """Both ends are closed, and the client has received what was for it."""
        return self.server_is_gone and (self.client_is_gone or not self.to_client)

    def may_read(self, now_s: float) -> int:
        """Return how many bytes the client may send now; 0: too few to be worth a turn."""
        left = CHUNK_BYTES if self.allowance is None else int(self.allowance.left(now_s))
        return left if left >= _TICK_BYTES else 0

    def client_events(self) -> int:
        """Return what to wait for at the client's end."""
        if self.client_is_gone:
            return 0
        reads = not self.to_server and not self.server_is_gone and not self.throttled
        return (READ if reads else 0) | (WRITE if self.to_client else 0)

    def server_events(self) -> int:
        """Return what to wait for at the server's end."""
        if self.server_is_gone:
            return 0
        return (READ if not self.to_client else 0) | (WRITE if self.to_server else 0)

    def serve_client(self, events: int, now_s: float, scratch: memoryview) -> None:
        """Do what the client's end is ready for."""
        if events & WRITE and self.to_client:
            self._write_client(now_s)
        if events & READ and not self.to_server and not self.client_is_gone:
            self._read_client(now_s, scratch)

    def serve_server(self, events: int, now_s: float, scratch: memoryview) -> None:
        """Do what the server's end is ready for."""
        if events & WRITE and self.to_server:
            self._write_server()
        if events & READ and not self.to_client and not self.server_is_gone:
            self._read_server(now_s, scratch)

    def _read_client(self, now_s: float, scratch: memoryview) -> None:
        may = self.may_read(now_s)
        self.throttled = may == 0
        if self.throttled:
            return
        n_bytes = _receive(self.client, scratch[:may])
        if n_bytes is None:
            return
        if n_bytes == 0:
            self.lose_client()
            return
        if self.allowance is not None:
            self.allowance.spend(n_bytes)
        self.to_server = scratch[:n_bytes]
        self._write_server()
        self.to_server = memoryview(bytes(self.to_server))  # the scratch is used again

    def _write_server(self) -> None:
        sent = _send(self.server, self.to_server)
        if sent is None:
            self.lose_server()
            return
        self.to_server = self.to_server[sent:]
        self._pass_on_end()

    def _read_server(self, now_s: float, scratch: memoryview) -> None:
        n_bytes = _receive(self.server, scratch)
        if n_bytes is None:
            return
        if n_bytes == 0:
            self.lose_server()
        elif not self.client_is_gone:
            self.to_client, self.moved_s = scratch[:n_bytes], now_s
            self._write_client(now_s)
            self.to_client = memoryview(bytes(self.to_client))

    def _write_client(self, now_s: float) -> None:
        sent = _send(self.client, self.to_client)
        if sent is None:
            self.lose_client()
            return
        self.to_client = self.to_client[sent:]
        self.moved_s = now_s if sent else self.moved_s

    def lose_client(self) -> None:
        """The client disconnected: the server learns it behind the last byte, and what it still sends is dropped."""
        self.client_is_gone, self.to_client = True, memoryview(b"")
        self._pass_on_end()

    def lose_server(self) -> None:
        """The server closed: nothing more is taken from the client."""
        self.server_is_gone, self.to_server = True, memoryview(b"")

    def _pass_on_end(self) -> None:
        if self.client_is_gone and not self.to_server:
            with contextlib.suppress(OSError):
                self.server.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.client.close()
        self.server.close()


def _receive(source: socket.socket, into: memoryview) -> int | None:
    """Return the number of bytes read; 0: the other end is gone; None: nothing is there."""
    try:
        return source.recv_into(into)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return 0


def _send(sink: socket.socket, waiting: memoryview) -> int | None:
    """Return the number of bytes taken; None: the other end is gone."""
    try:
        return sink.send(waiting)
    except (BlockingIOError, InterruptedError):
        return 0
    except OSError:
        return None
