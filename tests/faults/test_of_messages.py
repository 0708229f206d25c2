"""Faults 17 to 23: damaged, huge and foreign messages, strangers, and a page that another site opens."""

from __future__ import annotations

import contextlib
import importlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import websockets.exceptions
from websockets.sync.client import connect

from care_live.errors import ProtocolError
from care_live.publish import Delivery, Subscriber
from care_live.wire import cl1, keys
from care_live.wire.messages import Hello, Refused
from care_live.wire.sockets import Sockets, new_pair
from tests.faults.audience import page
from tests.faults.lab import FULL, PATIENCE, DaemonUnderTest, daemon, recorded, rss_mib
from tests.make.runs import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200 if FULL else 600)]

TOOLS = Path(__file__).parents[2] / "tools"
N_MUTATED = 300_000 if FULL else 12_000
ENDLESS = {"loops": 0, "speed": 40.0, "kind": "replay", "axes": "TZYX"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonUnderTest]:
    """A daemon that plays on until the last of these tests."""
    folder = tmp_path_factory.mktemp("messages")
    recorded(folder, times=4)
    source, few = {**ENDLESS, "path": str(folder / "movie.tif")}, {"replay_mib": 1}
    with daemon(folder, source=source, restore={"policy": "latest"}, publish=few) as one:
        one.wait_until(lambda status: status.get("restored", 0) >= 8)  # as many as it keeps: from then on it stays
        yield one


def is_served(by: DaemonUnderTest) -> bool:
    """Tell whether an honest watcher gets two new volumes now."""
    with Subscriber(by.address) as honest:
        volumes = honest.volumes(timeout_s=60)
        return next(volumes).key != next(volumes).key


def say(to: str, parts: list[bytes]) -> None:
    """Send one message; the answer, where one comes within half a second, is thrown away."""
    with Sockets() as hub:
        hub.connect("dealer", to).send(parts)
        hub.poll(0.5)


def answer(to: str, said: bytes) -> cl1.Message:
    """Send one message and return what comes back."""
    until = time.monotonic() + 60
    with Sockets() as hub:
        link = hub.connect("dealer", to)
        link.send([said])
        while (received := link.receive()) is None:
            assert time.monotonic() < until, "no answer came"
            hub.poll(0.1)
        return cl1.decode([bytes(part) for part in received.parts])[0]


def test_17_mutated_messages(running, tmp_path, monkeypatch):
    """Thousands of damaged messages raise the protocol's own error only; a daemon serves on."""
    monkeypatch.syspath_prepend(str(TOOLS))
    fuzz = importlib.import_module("fuzz")
    campaign = importlib.import_module("fuzzing.campaign")
    tally = campaign.Campaign(
        "cl1", fuzz.module("cl1"), 17, 1000.0 if FULL else 250.0, tmp_path, n_inputs=N_MUTATED
    ).run()
    assert tally.kinds.total() == N_MUTATED
    assert not tally.failures
    with Sockets() as hub:
        link = hub.connect("dealer", running.address)
        for part in _damaged_requests(2000):
            while not link.send([part]):
                hub.poll(0.01)
            while link.receive() is not None:
                pass
    assert is_served(running)


def _damaged_requests(n: int) -> Iterator[bytes]:
    chance = np.random.default_rng(17)
    sound = bytes(cl1.encode_request(Hello(name="x" * 20))[0])
    for _ in range(n):
        damaged = bytearray(sound)
        damaged[chance.integers(len(damaged))] = chance.integers(256)
        yield bytes(damaged)


def test_18_huge_and_deep_messages(running):
    """A control message of 10 MB and JSON as deep as it gets are refused; the daemon grows by less than 10 MB."""
    assert is_served(running)
    before = rss_mib(running.process)
    for parts in (
        [b" " * 10_000_000],
        [b"x" * 10_000_000],
        [b"[" * 16_000],
        [b'{"protocol":"cl1","type":"hello","name":' + b"[" * 15_000],
        [b"{}"] * 500,
    ):
        say(running.address, parts)
    assert rss_mib(running.process) - before < 10
    assert is_served(running)


def test_19_bit_flips_on_the_way(running):
    """A watcher behind a link that flips bits never gets a wrong voxel; what it gets is what was recorded."""
    movie = recorded(running.folder, times=4)
    stop = threading.Event()
    with _flipping(running.address, stop) as address, Subscriber(address, mode="every") as subscriber:
        volumes = []
        until = time.monotonic() + 120
        while (len(volumes) < 20 or not subscriber.n_damaged) and time.monotonic() < until:
            received = subscriber.next(5.0)
            if isinstance(received, Delivery) and received.is_whole:
                volumes.append(received)
    assert subscriber.n_damaged > 0, "no bit was flipped"
    for volume in volumes:
        np.testing.assert_array_equal(volume.raw, movie[volume.key.t % 4])


@contextlib.contextmanager
def _flipping(target: str, stop: threading.Event) -> Iterator[str]:
    """Relay one connection after another, damaging what comes back."""
    door = socket.create_server(("127.0.0.1", 0))
    door.settimeout(0.1)
    threads: list[threading.Thread] = []

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                near, _ = door.accept()
                threads.append(threading.Thread(target=_relay, args=(near, target, stop), name="flipping"))
                threads[-1].start()

    server = threading.Thread(target=serve, name="flipping door")
    server.start()
    try:
        yield f"tcp://127.0.0.1:{door.getsockname()[1]}"
    finally:
        stop.set()
        for thread in [server, *threads]:
            thread.join(60)
        door.close()


def _relay(near: socket.socket, target: str, stop: threading.Event) -> None:
    host, _, port = target.removeprefix("tcp://").rpartition(":")
    with near, socket.create_connection((host, int(port))) as far:
        back = threading.Thread(target=_pump, args=(near, far, stop, 0), name="flipping back")
        back.start()
        _pump(far, near, stop, 1_500_000)
        with contextlib.suppress(OSError):
            near.shutdown(socket.SHUT_RDWR)
            far.shutdown(socket.SHUT_RDWR)
        back.join(60)


def _pump(source: socket.socket, sink: socket.socket, stop: threading.Event, every: int) -> None:
    """Pass bytes on; flip a bit in each stretch of that length."""
    source.settimeout(0.1)
    due = every
    while not stop.is_set():
        try:
            data = bytearray(source.recv(65536))
            if not data:
                return
            due -= len(data)
            if every and due < 0:
                data[len(data) // 2] ^= 8
                due = every
            sink.sendall(data)
        except TimeoutError:
            continue
        except OSError:
            return


def test_20_unknown_versions_and_fields(running):
    """Another major version is refused by name; a field that came later is ignored."""
    refused = answer(running.address, b'{"protocol":"cl2","type":"hello"}')
    assert isinstance(refused, Refused)
    assert refused.reason == "protocol" and "cl2" in refused.detail
    newer = json.loads(bytes(cl1.encode_request(Hello(name="newer"))[0])) | {"since": {"1.1": [1]}}
    assert not isinstance(answer(running.address, json.dumps(newer).encode()), Refused)


def test_21_strangers(tmp_path):
    """No data for an unknown key, for no key and for a wrong server key; a silent client is gone within 3 s."""
    guest, server = new_pair(), new_pair()
    keys.write_pair(tmp_path / "server.key", server)
    keys.allow(tmp_path / "allowed", guest.public, "vera", "viewer")
    recorded(tmp_path, times=4)
    locked = {"server_key_file": str(tmp_path / "server.key"), "authorized_keys_file": str(tmp_path / "allowed")}
    source = {**ENDLESS, "path": str(tmp_path / "movie.tif")}
    strangers = (keys.ClientKeys(new_pair(), server.public), None, keys.ClientKeys(guest, new_pair().public))
    with daemon(tmp_path, source=source, publish=locked) as guarded:
        guarded.wait_until(lambda status: status.get("restored", 0) >= 1)
        for stranger in strangers:
            with Subscriber(guarded.address, keys=stranger) as subscriber:
                assert subscriber.next(1.0) is None
        assert _hangs_up_s(guarded.address) < 3.0 * PATIENCE
        with Subscriber(guarded.address, keys=keys.ClientKeys(guest, server.public)) as welcome:
            next(welcome.volumes(timeout_s=60))
        with (
            Subscriber(guarded.address, mode="every", keys=keys.ClientKeys(guest, server.public)) as recorder,
            pytest.raises(ProtocolError, match="role"),
        ):
            next(recorder.volumes(timeout_s=60))


def _hangs_up_s(address: str) -> float:
    """Connect and say nothing; return how long it takes until the other side hangs up."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as silent:
        began_s = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while silent.recv(4096):
                pass
        return time.monotonic() - began_s


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
@pytest.mark.parametrize("case", ["readable-by-others", "open-without-keys"])
def test_22_keys_that_do_not_protect(tmp_path, case):
    """The daemon refuses to start, with exit code 2 and one line."""
    recorded(tmp_path, times=1)
    if case == "readable-by-others":
        keys.write_pair(tmp_path / "server.key", new_pair())
        (tmp_path / "server.key").chmod(0o644)
        keys.allow(tmp_path / "allowed", new_pair().public, "vera", "viewer")
        publish = {
            "server_key_file": str(tmp_path / "server.key"),
            "authorized_keys_file": str(tmp_path / "allowed"),
        }
    else:
        publish = {"bind_pull": f"tcp://0.0.0.0:{free_ports(1)[0]}"}
    with daemon(tmp_path, publish=publish) as refused:
        refused.end(2)
    assert refused.log.strip().splitlines()[-1].startswith("care-live: ")
    assert not list((tmp_path / "runs").glob("*/raw"))


def test_23_foreign_pages_tokens_and_paths(running):
    """Another site's page, no token and a path out of the page get 403 or 404; the page itself is served."""
    with page(running.address) as url, httpx.Client(follow_redirects=True, timeout=60) as client:
        home = url.partition("?")[0]
        for path in ("", "?token=wrong", "page/main.js", "page/..%2fgateway.py", "page/%2e%2e/access.py"):
            assert httpx.get(home + path, timeout=60).status_code in {403, 404}, path
        assert client.get(url).status_code == 200
        for path in ("page/..%2f..%2fgateway.py", "page/%2e%2e/access.py", "data/x/../../secret"):
            assert client.get(home + path).status_code in {403, 404}, path
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
        live = home.replace("http://", "ws://") + "live"
        for origin, headers in (("http://evil.example", cookie), (home.rstrip("/"), {})):
            with (
                pytest.raises(websockets.exceptions.InvalidStatus) as refused,
                connect(live, origin=origin, additional_headers=headers, open_timeout=60),
            ):
                pass
            assert refused.value.response.status_code == 403
        with connect(live, origin=home.rstrip("/"), additional_headers=cookie, max_size=None, open_timeout=60) as link:
            link.send('{"op":"credit","n":1}')
            assert link.recv(60)
