"""A WebSocket without its client."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@contextlib.asynccontextmanager
async def raw_websocket(address: str) -> AsyncIterator[socket.socket]:
    """A WebSocket of which the frames are written by hand, and nothing is read."""
    parts = urlsplit(address)
    token = parts.query.removeprefix("token=")
    head = (
        f"GET /live HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: http://{parts.netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Cookie: care_live_{parts.port}={token}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", parts.port or 0)) as opened:
        opened.sendall(head.encode())
        assert opened.recv(16).startswith(b"HTTP/1.1 101")
        yield opened


def frame(first: int, payload: bytes) -> bytes:
    """A masked frame of up to 125 bytes; the mask is zero."""
    return bytes([first, 0x80 | len(payload), 0, 0, 0, 0]) + payload
