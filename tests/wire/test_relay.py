"""What passes between a client and a server behind a door."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from care_live.wire.address import listen
from care_live.wire.door import Door
from care_live.wire.relay import Budget
from tests.make.doors import Server, eventually, is_served


def test_bytes_arrive_both_ways_as_they_were_sent(served: Server) -> None:
    sent = bytes(range(256)) * 2000
    with socket.create_connection(served.where, timeout=60) as client:
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        came = b""
        while len(came) < len(sent):
            came += client.recv(65536)
        sender.join()
    assert came == sent
    assert eventually(lambda: served.ended == [sent])


def test_what_a_client_sent_before_it_reset_its_link_reaches_a_server_that_reads_late(served: Server) -> None:
    """The server must not see a broken link before the last byte: libzmq ends its process then."""
    served.reads.clear()
    client = socket.create_connection(served.where, timeout=60)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.sendall(b"y" * 1000)
    assert eventually(lambda: n_unread(served) == 1000), "the door has read what came"
    client.close()
    time.sleep(0.1)  # the door sees that
    served.reads.set()
    assert eventually(lambda: served.ended == [b"y" * 1000])


def n_unread(served: Server) -> int:
    """Return how many bytes of its first client wait for a server that does not read."""
    if not served.clients:
        return 0
    with contextlib.suppress(BlockingIOError):
        return len(served.clients[0].recv(65536, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    return 0


@pytest.mark.parametrize("served", [Budget(stuck_s=0.5)], indirect=True)
def test_a_client_that_takes_nothing_is_cut(served: Server) -> None:
    with socket.create_connection(served.where, timeout=60) as client:
        with pytest.raises(OSError):  # reset, or a broken pipe
            for _ in range(10_000):
                client.sendall(b"z" * 65536)
        assert eventually(lambda: len(served.ended) == 1)
    assert is_served(served.where)


@pytest.mark.parametrize("served", [Budget(bytes_per_s=50_000, burst_bytes=20_000)], indirect=True)
def test_one_that_sends_too_fast_waits_and_the_others_do_not(served: Server) -> None:
    with socket.create_connection(served.where, timeout=60) as fast:
        fast.settimeout(0.2)
        try:
            for _ in range(1000):
                fast.sendall(b"f" * 65536)
        except TimeoutError:
            pass
        assert is_served(served.where)
    assert eventually(lambda: len(served.ended) == 2)
    assert max(map(len, served.ended)) < 8_000_000, "a rate for which 64 MB were sent"


def test_both_ends_of_a_connection_may_go_in_the_same_moment() -> None:
    """The door is held up by one client's connection while both ends of the others close."""
    listener, held = listen("tcp://127.0.0.1:0"), threading.Event()
    behind: list[socket.socket] = []
    waits = threading.Event()

    def connect() -> socket.socket:
        near, far = socket.socketpair()
        behind.append(far)
        if held.is_set():
            waits.set()
            released.wait(120)
        return near

    released, where = threading.Event(), listener.getsockname()
    door = Door(listener, connect, Budget())
    clients = [socket.create_connection(where, timeout=60) for _ in range(20)]
    assert eventually(lambda: len(behind) == 20)
    held.set()
    with socket.create_connection(where, timeout=60) as last:
        assert waits.wait(60)
        for end in (*behind[:20], *clients):  # the server's ends come first
            end.close()
        released.set()
        last.sendall(b"x")
        behind[20].settimeout(60)
        assert behind[20].recv(1) == b"x", "the door serves on"
    door.close(0.0)
    behind[20].close()
    assert door.error is None
