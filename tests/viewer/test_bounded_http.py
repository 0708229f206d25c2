"""HTTP within limits of time."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from urllib.parse import urlsplit

import pytest

from care_live.viewer.web import bounded_http
from tests.make.raw_websocket import HALF, frame, raw_websocket
from tests.make.scenes import filled, scene, serving


@pytest.mark.slow
def test_a_request_that_trickles_in_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "REQUEST_S", 0.4)
    with serving(filled(scene(0))) as (_, address), socket.create_connection(("127.0.0.1", port_of(address))) as slow:
        slow.settimeout(60)
        slow.sendall(HALF)
        assert closed(slow, lambda: slow.sendall(b"X: y\r\n"))


@pytest.mark.slow
def test_a_second_request_that_never_ends_is_not_waited_for_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "REQUEST_S", 0.4)
    with serving(filled(scene(0))) as (_, address), socket.create_connection(("127.0.0.1", port_of(address))) as slow:
        slow.settimeout(60)
        slow.sendall(HALF + b"\r\n")
        assert slow.recv(4096).startswith(b"HTTP/1.1 403")
        slow.sendall(HALF)
        assert closed(slow, lambda: slow.sendall(b"X: y\r\n"))


def port_of(address: str) -> int:
    return urlsplit(address).port or 0


def closed(connection: socket.socket, poke: object = None) -> bool:
    """Tell whether the server closes a connection, though it is poked again and again."""
    deadline = time.monotonic() + 60
    connection.settimeout(0.1)
    while time.monotonic() < deadline:
        try:
            if callable(poke):
                poke()
            if not connection.recv(1 << 20):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


@pytest.mark.slow
def test_a_browser_that_takes_nothing_is_cut_and_one_that_is_only_slow_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "STALLED_S", 5.0)
    index = filled(scene(0, shape=(4, 1500, 1500)))
    ask = frame(0x81, json.dumps({"op": "credit", "n": 2}).encode())

    def take(opened: socket.socket, n_bytes: int) -> None:
        while n_bytes > 0:
            came = opened.recv(n_bytes)
            assert came, "the slow one was cut"
            n_bytes -= len(came)

    async def main(address: str) -> None:
        async with raw_websocket(address) as frozen, raw_websocket(address) as slow:
            for opened in (frozen, slow):
                opened.sendall(ask)
            for _ in range(100):
                await asyncio.to_thread(take, slow, 200_000)
                await asyncio.sleep(0.1)
                if gateway.n_browsers == 1:
                    break
            assert gateway.n_browsers == 1
            slow.sendall(frame(0x81, b'{"op":"ping","sent_ms":1}'))
            assert await asyncio.to_thread(closed, frozen)

    with serving(index) as (gateway, address):
        asyncio.run(main(address))
