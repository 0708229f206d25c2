"""Single connections of a ZeroMQ socket: what is in flight to a peer, and how a peer is disconnected."""

from __future__ import annotations

import contextlib
import os
import socket as bsd
import struct
from dataclasses import dataclass
from typing import Protocol, TypeAlias

ConnectionId: TypeAlias = tuple[int, int]
"""File descriptor and inode: a descriptor that is used again is another connection."""


class _Tracker(Protocol):
    @property
    def done(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Sending:
    """A message that was handed to ZeroMQ, with the memory that it holds until the network has taken it."""

    nbytes: int
    tracker: _Tracker

    @property
    def is_done(self) -> bool:
        """Whether the network has taken it, or the peer has disconnected."""
        return self.tracker.done


def identify(fd: int) -> ConnectionId | None:
    """Return which connection a descriptor belongs to now; None: it is closed or not known."""
    with contextlib.suppress(OSError, OverflowError):
        return fd, os.fstat(fd).st_ino
    return None


def cut(connection: ConnectionId, endpoint: str) -> bool:
    """Break the connection of one peer at once, with all that waits to be sent to it; return whether there was one.

    Parameters
    ----------
    connection : from `identify`; a descriptor that has become something else since is left alone
    endpoint : where the socket that accepted it is bound
    """
    if identify(connection[0]) != connection:
        return False
    with contextlib.suppress(OSError), bsd.socket(fileno=os.dup(connection[0])) as peer:
        if not _is_of(peer.getsockname(), endpoint):
            return False
        peer.setsockopt(bsd.SOL_SOCKET, bsd.SO_LINGER, struct.pack("ii", 1, 0))
        peer.shutdown(bsd.SHUT_RDWR)
        return True
    return False


def _is_of(name: object, endpoint: str) -> bool:
    """Return whether an end of a connection, as the system names it, belongs to an endpoint of ZeroMQ."""
    if isinstance(name, tuple):
        return endpoint.endswith(f":{name[1]}")
    said = name if isinstance(name, bytes) else str(name).encode()
    return said.replace(b"\0", b"@") == endpoint.removeprefix("ipc://").encode()
