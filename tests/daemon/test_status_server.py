"""The status address under clients that are slow, many, or from another origin."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from care_live.daemon.health import Health
from care_live.daemon.run_metrics import DaemonStatus
from care_live.daemon.status_server import MAX_REQUEST_BYTES, ConnectionLimits
from tests.make.status_address import LIMITS, ask, serving

IMPATIENT = ConnectionLimits(connections=4, life_s=2.0, silence_s=1.0)


@pytest.fixture
def impatient(orders: list[object]) -> Iterator[Health]:
    """One that gives a client two seconds."""
    with serving(orders, IMPATIENT) as served:
        yield served


def connect(health: Health) -> socket.socket:
    host, _, port = health.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def talk(health: Health, request: bytes) -> bytes:
    """Send bytes, and return all that is answered until the connection is closed."""
    with connect(health) as link:
        link.sendall(request)
        return b"".join(iter(lambda: link.recv(65536), b""))


def post(
    health: Health, *headers: str, body: bytes = b"{}", length: object = None, host: str = "127.0.0.1:80"
) -> bytes:
    head = ["POST /swap HTTP/1.1", f"Host: {host}", "Content-Type: application/json", *headers]
    head += [] if length == "" else [f"Content-Length: {len(body) if length is None else length}"]
    return talk(health, "\r\n".join(head).encode() + b"\r\n\r\n" + body)


def test_connections_that_say_nothing_keep_neither_the_daemon_nor_another_client(orders: list[object]) -> None:
    health = Health("127.0.0.1:0", DaemonStatus, lambda: True, limits=ConnectionLimits(life_s=3600, silence_s=3600))
    health.start()
    idle = [connect(health) for _ in range(40)]
    idle[0].sendall(b"GET /status HTTP/1.1\r\nHost:")
    assert ask(health.address, "/livez")[0] == 200
    ending = threading.Thread(target=health.stop)
    ending.start()
    ending.join(60)
    assert not ending.is_alive()
    for link in idle:
        link.close()


def test_a_client_that_sends_a_byte_now_and_then_is_cut_off(impatient: Health, health: Health) -> None:
    with connect(impatient) as link:
        with pytest.raises(OSError):
            for byte in b"GET /status HTTP/1.1\r\n" * 1000:
                link.sendall(bytes([byte]))
                time.sleep(0.1)  # what it sends must never stop for long
        assert ask(health.address, "/livez")[0] == 200


@pytest.mark.parametrize(
    ("length", "code"),
    [(-1, 411), ("", 411), ("1e3", 411), ("²", 411), (2**40, 413), ("9" * 5000, 413), (65537, 413)],
)
def test_an_order_says_how_long_it_is_and_is_short(
    health: Health, orders: list[object], length: object, code: int
) -> None:
    answer = post(health, length=length)
    assert answer.split()[1] == str(code).encode()
    assert orders == []


def test_a_request_has_an_end(health: Health, orders: list[object]) -> None:
    answer = talk(health, b"GET /status HTTP/1.1\r\n" + b"X: y\r\n" * MAX_REQUEST_BYTES)
    assert answer.split()[1] in (b"400", b"431")
    assert post(health, "Transfer-Encoding: chunked").split()[1] == b"411"
    assert orders == []


def test_the_rest_of_an_order_is_not_waited_for(impatient: Health, orders: list[object]) -> None:
    assert post(impatient, body=b"{" * 10, length=60000).split()[1:2] in ([b"400"], [])
    assert orders == []


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("Origin: http://evil.example", "127.0.0.1:80"),
        ("Origin: null", "127.0.0.1:80"),
        ("Origin: http://127.0.0.1:5794", "127.0.0.1:80"),
        ("Sec-Fetch-Site: cross-site", "127.0.0.1:80"),
        ("X: y", "evil.example"),
        ("X: y", "evil.example:5793"),
        ("X: y", "localhost.evil.example"),
        ("X: y", "127.0.0.1.evil.example"),
    ],
)
def test_a_page_of_another_origin_neither_orders_nor_reads(
    health: Health, orders: list[object], header: str, host: str
) -> None:
    assert post(health, header, host=host).split()[1] == b"403"
    assert orders == []
    looked = talk(health, f"GET /status HTTP/1.1\r\nHost: {host}\r\n{header}\r\n\r\n".encode())
    assert looked.split()[1] == b"403"


@pytest.mark.parametrize("host", ["127.0.0.1:5793", "localhost", "LOCALHOST:1", "[::1]:5793", "192.168.0.7:5793"])
def test_this_machine_may_be_called_by_its_addresses(health: Health, orders: list[object], host: str) -> None:
    assert post(health, host=host, body=b'{"model": "a.onnx"}').endswith(b"swapping")
    assert orders == [{"model": "a.onnx"}]


def test_a_flood_of_connections_leaves_the_address_reachable(health: Health) -> None:
    before = threading.active_count()
    for _ in range(300):
        connect(health).close()
    assert ask(health.address, "/livez")[0] == 200
    deadline = time.monotonic() + 60
    while threading.active_count() > before + LIMITS.connections:
        assert time.monotonic() < deadline
