"""The socket of ZeroMQ."""

from __future__ import annotations

import errno

import pytest
import zmq

from care_live.wire.zmq_socket import peer_is_gone


@pytest.mark.parametrize(("number", "on_windows", "elsewhere"), [(110, True, False), (10065, True, False)])
def test_windows_has_its_own_numbers_for_a_peer_that_left(number: int, on_windows: bool, elsewhere: bool) -> None:
    assert peer_is_gone(number, system="nt") is on_windows
    assert peer_is_gone(number, system="posix") is elsewhere
    assert peer_is_gone(errno.EHOSTUNREACH) and peer_is_gone(zmq.EAGAIN)
    assert not peer_is_gone(errno.EBADF, system="nt")
