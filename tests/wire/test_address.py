"""Addresses: which are of this machine only, what a port is, and what is refused."""

from __future__ import annotations

import pytest

from care_live.errors import ConfigError
from care_live.wire.address import address_of, at_port, is_loopback, listen, port_of


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("tcp://127.0.0.1:5790", True),
        ("tcp://127.9.9.9:1", True),
        ("tcp://localhost:5790", True),
        ("tcp://[::1]:5790", True),
        ("tcp://0.0.0.0:5790", False),
        ("tcp://*:5790", False),
        ("tcp://microscope:5790", False),
        ("tcp://192.168.1.5:5790", False),
    ],
)
def test_only_this_machine_reaches_a_loopback_address(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


@pytest.mark.parametrize("wrong", ["127.0.0.1:5790", "tcp://127.0.0.1", "udp://127.0.0.1:1", "tcp://a b:1", ""])
def test_what_is_no_address_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ConfigError, match="wanted tcp://HOST:PORT"):
        is_loopback(wrong)


def test_another_port_is_on_the_same_host() -> None:
    assert at_port("tcp://[::1]:5790", 17) == "tcp://[::1]:17"
    assert port_of("tcp://microscope:5790") == 5790


def test_a_free_port_is_found_and_a_taken_one_refused() -> None:
    with listen("tcp://127.0.0.1:*") as listener:
        address = address_of(listener)
        assert port_of(address) > 0
        with pytest.raises(ConfigError, match="is taken by another program"):
            listen(address)


def test_a_host_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(ConfigError, match="cannot bind to"):
        listen("tcp://192.0.2.1:*")
