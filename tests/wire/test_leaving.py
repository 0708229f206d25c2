"""A peer that goes away while its messages wait to be read: the process at the other end lives on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from care_live.wire import keys, sockets
from tests.make import samples
from tests.wire import leaving

pytestmark = pytest.mark.slow


VISITS = 2
"""Heartbeats of ZMTP ended the server at the first or second one."""


def still_answers(address: str, client: keys.ClientKeys | None = None) -> bool:
    with sockets.Sockets(client=client) as hub:
        link = hub.connect("dealer", address)
        link.send([b"still there?"])
        hub.poll(60.0)
        return link.receive() is not None


def test_clients_that_flood_and_leave_do_not_end_the_server() -> None:
    with leaving.process("answer") as server:
        (address,) = leaving.first_line(server)
        for _ in range(VISITS):
            with leaving.process("flood", address, "1.0") as visitor:
                visitor.wait(60)
        assert still_answers(address)
        assert server.poll() is None


def test_nor_do_clients_that_send_heartbeats_of_their_own() -> None:
    """A ping that is read after its connection broke ends libzmq's process, whatever the server's own settings."""
    with leaving.process("answer") as server:
        (address,) = leaving.first_line(server)
        for _ in range(VISITS):
            with leaving.process("flood_with_heartbeats", address, "1.0") as visitor:
                visitor.wait(60)
        time.sleep(2.0)  # until the server has read what they left
        assert still_answers(address)
        assert server.poll() is None


def test_nor_do_those_with_a_key(tmp_path: Path) -> None:
    own_file, allowed = samples.write_keys(tmp_path)
    guest, public = sockets.new_pair(), keys.read_pair(own_file).public
    keys.allow(allowed, guest.public, "vera", "viewer")
    with leaving.process("answer", str(tmp_path)) as server:
        (address,) = leaving.first_line(server)
        for _ in range(VISITS):
            with leaving.process("flood", address, "1.0", public, guest.public, guest.secret) as visitor:
                visitor.wait(60)
        assert still_answers(address, keys.ClientKeys(guest, public))
        assert server.poll() is None


def test_a_busy_listener_outlives_its_daemon() -> None:
    with leaving.process("publish") as daemon:
        broadcast, _ = leaving.first_line(daemon)
        with leaving.process("listen", broadcast) as listener:
            assert leaving.first_line(listener) == ["heard"]
            time.sleep(3.0)  # until its queue is full and its input stopped
            daemon.kill()
            time.sleep(4.0)  # heartbeats would be due twice a second
            assert listener.poll() is None


def test_a_busy_daemon_outlives_its_tap() -> None:
    with leaving.process("receive", "2.5") as daemon:
        (address,) = leaving.first_line(daemon)
        with leaving.process("tap", address) as tap:
            assert leaving.first_line(daemon) == ["away"]
            assert leaving.first_line(tap) == ["sending"]
            tap.kill()
        assert leaving.first_line(daemon) == ["alive"]
