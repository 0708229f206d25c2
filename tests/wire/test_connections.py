"""A connection is known by its descriptor and inode, and is cut only while it is still that one."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from care_live.wire.connections import cut, identify

Ends = tuple[socket.socket, socket.socket, str]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The accepted end of a connection, the other one, and the endpoint."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(30)
        client = opened.enter_context(socket.create_connection(listener.getsockname(), timeout=30))
        accepted = opened.enter_context(listener.accept()[0])
        yield accepted, client, f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def test_a_descriptor_that_is_used_again_is_another_connection(ends: Ends) -> None:
    accepted, client, _ = ends
    assert identify(accepted.fileno()) != identify(client.fileno())
    closed = os.dup(accepted.fileno())
    os.close(closed)
    assert identify(closed) is None
    assert identify(1 << 70) is None, "what is no descriptor at all"


@pytest.mark.skipif(os.name == "nt", reason="a socket is no file there")
def test_what_is_cut_is_broken_at_once(ends: Ends) -> None:
    accepted, client, endpoint = ends
    connection = identify(accepted.fileno())
    assert connection is not None
    assert cut(connection, endpoint)
    client.settimeout(30)
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b"", "the other end of the stream"


@pytest.mark.skipif(os.name == "nt", reason="a socket is no file there")
def test_what_is_another_connection_by_now_stays(ends: Ends) -> None:
    accepted, client, endpoint = ends
    fd, inode = identify(accepted.fileno()) or (0, 0)
    assert not cut((fd, inode + 1), endpoint)
    assert not cut((fd, inode), "tcp://127.0.0.1:1")
    client.sendall(b"x")
    accepted.settimeout(30)
    assert accepted.recv(1) == b"x"
