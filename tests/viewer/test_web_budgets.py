"""What one client costs the others: every line of budgets.md, attacked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import websockets

from care_live.images import VolumeKey
from care_live.store import open_run
from care_live.viewer.view_records import ViewedVolume
from care_live.viewer.web import budget, picture
from care_live.viewer.web.log_rate import MAX_LINES, WINDOW_S, LogRate
from care_live.viewer.web.quota import Quota
from tests.make.raw_websocket import HALF, frame, raw_websocket
from tests.make.scenes import STARTED, but, filled, restored, scene, serving

from .test_gateway import connect

N_FILES, N_KEPT = 512, 600
"""That the page's process may open, and connections that the flood keeps."""

# -- bookkeeping --------------------------------------------------------------------------------------------------


def test_for_a_newcomer_the_one_that_has_waited_longest_goes() -> None:
    quota: Quota[int] = Quota(max_all=6, max_of_address=4)
    assert [quota.enter(n, "a", float(n)) for n in range(4)] == [None] * 4
    quota.is_answered(0, 4.0)
    assert quota.enter(4, "a", 5.0) == 1, "0 is being answered"
    quota.leave(1)
    quota.waits(2, 6.0)
    assert quota.enter(5, "a", 7.0) == 3
    quota.leave(3)
    assert [quota.enter(n, f"b{n}", 8.0) for n in (10, 11)] == [None, None]
    assert quota.enter(12, "b12", 9.0) == 4, "of the address that has most"
    for n in (0, 2, 4, 5, 10, 11, 12):
        quota.leave(n)
    assert len(quota) == 0


def test_a_flood_of_log_lines_becomes_a_number() -> None:
    now = [0.0]
    limit = LogRate(3, 10.0, clock_s=lambda: now[0])
    lines = [logging.LogRecord("x", logging.WARNING, "", 0, "refused %d", (n,), None) for n in range(1001)]
    assert sum(limit.filter(line) for line in lines[:-1]) == 3
    now[0] = 10.0
    assert limit.filter(lines[-1])
    assert lines[-1].getMessage() == "refused 1000 (and 997 lines that were left out)"


# -- floods of connections ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def page_process(run: Path, log: Path) -> Iterator[tuple[str, int]]:
    """Serve a run by the command, with few files to open; gives the page's address and the port."""
    command = [sys.executable, "-m", "care_live", "web", "--run", str(run), "--bind", "127.0.0.1:0"]
    limited = ["sh", "-c", f'ulimit -n {N_FILES}; exec "$@"', "sh", *command]
    with log.open("w") as errors:
        process = subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None, log.read_text()
            yield found.group(), urlsplit(found.group()).port or 0
            assert process.poll() is None, "the page ended"
        finally:
            process.terminate()
            process.communicate(timeout=60)


class Flood(threading.Thread):
    """Opens connections without end and sends half a request on each; keeps more of them than a page may have files."""

    def __init__(self, port: int) -> None:
        super().__init__(name="flood")
        self._port, self._over = port, threading.Event()
        self.n_opened = 0
        self.many = threading.Event()
        self.start()

    def run(self) -> None:
        opened: list[socket.socket] = []
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                opened.append(one := socket.create_connection(("127.0.0.1", self._port), timeout=0.2))
                one.sendall(HALF)
                self.n_opened += 1
            if self.n_opened >= N_KEPT:
                self.many.set()
            while len(opened) > N_KEPT:
                opened.pop(0).close()
        for one in opened:
            one.close()

    def end(self) -> None:
        self._over.set()
        self.join(60)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits the files of a process")
def test_half_requests_without_end_do_not_shut_a_person_out(tmp_path: Path) -> None:
    from care_live.config import StoreConfig

    with contextlib.closing(open_run(StoreConfig(directory=tmp_path), STARTED)) as writer:
        writer.write_raw(restored(0).volume)
    log = tmp_path / "log"
    with page_process(writer.path, log) as (address, port):
        flood = Flood(port)
        try:
            assert flood.many.wait(120), f"only {flood.n_opened} connections were taken"
            asyncio.run(look_until_seen(address))
        finally:
            flood.end()
    assert log.stat().st_size < 50_000, log.read_text()[:2000]


async def look_until_seen(address: str) -> None:
    """Try again where newcomers took the place before the request was read, as a browser and a person do."""
    async with asyncio.timeout(120):
        while True:
            with contextlib.suppress(httpx.TransportError, websockets.WebSocketException, OSError):
                await look(address)
                return


async def look(address: str) -> None:
    """Open the page and get a picture while the flood goes on."""
    async with httpx.AsyncClient(follow_redirects=True, timeout=20) as client:
        assert (await client.get(address)).status_code == 200
    async with connect(address, token=address.rsplit("=", maxsplit=1)[1]) as opened:
        await opened.send('{"op":"credit","n":2}')
        while not isinstance(message := await opened.recv(), bytes):
            pass
        assert picture.unpack(message)[0]["t"] == 0


# -- a browser that takes too much --------------------------------------------------------------------------------


def is_cut(opened: socket.socket, data: bytes, timeout_s: float = 60) -> bool:
    """Send without ever reading; tell whether the server cuts the connection."""
    deadline = time.monotonic() + timeout_s
    opened.settimeout(0.5)
    while time.monotonic() < deadline:
        try:
            opened.sendall(data)
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("data", [frame(0x89, b"x" * 125) * 100, frame(0x00, b"") * 1000], ids=["pings", "fragments"])
def test_a_browser_that_floods_without_reading_is_cut(data: bytes) -> None:
    async def main(address: str) -> None:
        async with raw_websocket(address) as opened:
            if data[0] == 0:
                opened.sendall(frame(0x01, b"{"))
            assert await asyncio.to_thread(is_cut, opened, data)

    with serving(filled(scene(0))) as (_, address):
        asyncio.run(main(address))


@pytest.mark.slow
def test_one_address_does_not_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    n = budget.MAX_BROWSERS_OF_ADDRESS

    async def main(address: str) -> None:
        async with contextlib.AsyncExitStack() as all_of_them:
            for _ in range(n):
                await all_of_them.enter_async_context(connect(address))
            async with asyncio.timeout(60):  # the last one is counted a moment after its handshake
                while gateway.n_browsers != n:
                    await asyncio.sleep(0.01)
            with pytest.raises(websockets.InvalidStatus, match="403"):
                await all_of_them.enter_async_context(connect(address))

    with serving(filled(scene(0))) as (gateway, address):
        asyncio.run(main(address))


N_ALONE, N_VOLUMES, PERIOD_S = 6, 24, 0.25
N_ROUNDS = 3
"""Another program may take the processor for seconds, a greedy browser does so in every round."""
GREEDY = [
    {"op": "view", "mode": "volume", "quality": "exact"},
    {"op": "view", "mode": "max", "quality": "lossy"},
    {"op": "probe", "t": 0, "p": 0, "z": 1, "y": 1, "x": 1},
    {"op": "ping", "sent_ms": 0.0},
    {"op": "credit", "n": 2},
]


@pytest.mark.slow
def test_a_greedy_browser_costs_another_one_at_most_a_tenth_of_its_volumes() -> None:
    first = scene(0, shape=(16, 256, 256), ensemble=True)
    index, volumes = filled(first), [but(first, key=VolumeKey(t)) for t in range(1, N_ALONE + N_ROUNDS * N_VOLUMES + 1)]

    async def grab(address: str) -> None:
        async with connect(address) as opened:
            revision = 0
            while True:
                for request in GREEDY:
                    revision += 1
                    more = {"revision": revision, "z": revision % 16} if request["op"] == "view" else {}
                    await opened.send(json.dumps(request | more))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(opened.recv(), 0.001)

    async def watch(address: str, seen: set[int]) -> None:
        async with connect(address) as opened:
            await opened.send('{"op":"credit","n":2}')
            while True:
                if isinstance(message := await opened.recv(), bytes):
                    seen.add(picture.unpack(message)[0]["t"])
                    await opened.send('{"op":"credit","n":1}')

    async def put(volume: ViewedVolume, seen: set[int]) -> float:
        """Publish a volume and return after how many seconds the browser has it."""
        began_s = time.monotonic()
        index.cache.put(volume)
        async with asyncio.timeout(60):
            while volume.key.t not in seen:
                await asyncio.sleep(0.005)
        return time.monotonic() - began_s

    async def missed_in(part: list[ViewedVolume], period_s: float, seen: set[int]) -> list[int]:
        for volume in part:
            index.cache.put(volume)
            await asyncio.sleep(period_s)
        await asyncio.sleep(2 * period_s)
        return sorted({volume.key.t for volume in part} - seen)

    async def main(address: str) -> None:
        seen: set[int] = set()
        tasks = [asyncio.create_task(watch(address, seen))]
        alone_s = [await put(volume, seen) for volume in volumes[:N_ALONE]]
        tasks.append(asyncio.create_task(grab(address)))
        period_s = max(PERIOD_S, 4 * max(alone_s))  # what this machine has time for, were there no greedy one
        await asyncio.sleep(4 * period_s)
        missed: list[list[int]] = []
        while len(missed) < N_ROUNDS and not any(len(one) <= N_VOLUMES // 10 for one in missed):
            begun = N_ALONE + len(missed) * N_VOLUMES
            missed.append(await missed_in(volumes[begun : begun + N_VOLUMES], period_s, seen))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert min(map(len, missed)) <= N_VOLUMES // 10, f"missed {missed}"

    with serving(index) as (_, address):
        asyncio.run(main(address))


@pytest.mark.slow
def test_who_is_refused_again_and_again_is_answered_ever_later(caplog: pytest.LogCaptureFixture) -> None:
    async def main(address: str) -> None:
        base = address.split("?", maxsplit=1)[0]
        async with httpx.AsyncClient(timeout=60) as client:
            answers = await asyncio.gather(*(client.get(base + f"page/%1b[2J{n}") for n in range(80)))
        assert {answer.status_code for answer in answers} == {403}

    opened_s = time.monotonic()
    with serving(filled(scene(0))) as (_, address):
        began_s = time.monotonic()
        asyncio.run(main(address))
        ended_s = time.monotonic()
    assert ended_s - began_s >= 1.0
    n_windows = 1 + int((ended_s - opened_s) / WINDOW_S)
    lines = [record.getMessage() for record in caplog.records if "web refused" in record.getMessage()]
    assert 0 < len(lines) <= MAX_LINES * n_windows
    assert not any("\x1b" in line for line in lines)
