"""The socket of ZeroMQ."""

from __future__ import annotations

import errno

import pytest
import zmq

from care_live.wire.zmq_socket import why_not_sent


@pytest.mark.parametrize(("number", "on_windows", "elsewhere"), [(110, True, False), (10065, True, False)])
def test_windows_has_its_own_numbers_for_a_peer_that_left(number: int, on_windows: bool, elsewhere: bool) -> None:
    assert (why_not_sent(number, system="nt") == "gone") is on_windows
    assert (why_not_sent(number, system="posix") == "gone") is elsewhere
    assert (why_not_sent(errno.EHOSTUNREACH), why_not_sent(zmq.EAGAIN)) == ("gone", "full")
    assert why_not_sent(errno.EBADF, system="nt") is None
