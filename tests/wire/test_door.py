"""The door before a server's socket: its budget holds, and a client that goes away in any way does no harm."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from care_live.errors import StageError
from care_live.wire.address import listen
from care_live.wire.door import Behind, Door
from care_live.wire.relay import Budget, Relayed
from care_live.wire.sockets import Sockets


class Server:
    """Listens behind a door: says back what it reads, while it reads."""

    def __init__(self, budget: Budget) -> None:
        self._behind = socket.create_server(("127.0.0.1", 0))
        self.reads = threading.Event()
        self.reads.set()
        self.ended: list[bytes] = []
        """What each client had said when it went."""
        self.clients: list[socket.socket] = []
        """The server's end of each connection."""
        self._threads: list[threading.Thread] = []
        listener = listen("tcp://127.0.0.1:0")
        self.where = listener.getsockname()
        self.door = Door(listener, lambda: socket.create_connection(self._behind.getsockname()), budget)
        self._start(self._accept)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._behind.accept()
            except OSError:
                return
            self.clients.append(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        said = b""
        with client:
            while self.reads.wait(120) and (data := client.recv(65536)):
                said += data
                client.sendall(data)
        self.ended.append(said)

    def close(self) -> None:
        self._behind.shutdown(socket.SHUT_RDWR)
        self._behind.close()
        self.reads.set()
        self.door.close(2.0, cut=True)
        for thread in self._threads:
            thread.join(60)


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Server]:
    opened = Server(getattr(request, "param", Budget()))
    yield opened
    opened.close()


def is_served(where: tuple[str, int]) -> bool:
    with socket.create_connection(where, timeout=60) as client:
        try:
            client.sendall(b"x")
            return client.recv(1) == b"x"
        except ConnectionError:
            return False


def eventually(condition: object, within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


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


@pytest.mark.parametrize("served", [Budget(connections=5, per_address=3)], indirect=True)
def test_an_address_gets_its_places_and_no_more_and_gets_them_back(
    served: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        clients = [socket.create_connection(served.where, timeout=60) for _ in range(3)]
        for client in clients:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        for _ in range(50):
            assert not is_served(served.where)
    assert served.door.n_turned_away == 50
    assert len(caplog.records) == 1, "a flood of attempts must not fill the log"
    for client in clients:
        client.close()
    assert eventually(lambda: is_served(served.where))


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


def private_ends() -> list[str]:
    """Return the names of this process's abstract sockets; other runs on this machine have some, too."""
    ours = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of this very loop is closed by now
            ours.add(link.readlink().name.partition("[")[2].rstrip("]"))
    rows = [line.split() for line in Path("/proc/net/unix").read_text(encoding="ascii").splitlines()[1:]]
    return [row[-1] for row in rows if row[6] in ours and "@care-live-" in row[-1]]


def test_the_private_end_serves_this_process_only() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells who connects")
    with Sockets() as hub:
        hub.bind("router", "tcp://127.0.0.1:0")
        names = private_ends()
        code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(60)\n"
        code += "s.connect(chr(0) + sys.argv[1][1:]); sys.exit(len(s.recv(10)))"
        assert names
        for name in set(names):
            assert subprocess.run([sys.executable, "-c", code, name], check=False).returncode == 0


def test_behind_gives_every_server_an_end_of_its_own() -> None:
    if sys.platform != "linux":
        pytest.skip("elsewhere the system chooses a port")
    assert Behind().endpoint != Behind().endpoint


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


def test_a_port_that_fails_is_reported_to_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Relayed, "serve_client", fail)
    with Sockets() as hub:
        router = hub.bind("router", "tcp://127.0.0.1:0")
        host, port = router.address.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(b"x")
            with pytest.raises(StageError, match="serves no more clients: a bug"):
                while True:
                    hub.poll(0.05)


@pytest.mark.slow
def test_a_thousand_short_visits_leave_nothing_behind(served: Server) -> None:
    for n in range(1000):
        with socket.create_connection(served.where, timeout=60) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([n % 2, 0, 0, 0, 0, 0, 0, 0]))
            if n % 3:
                client.sendall(b"x" * (n % 100))
    assert eventually(lambda: is_served(served.where))
    assert served.door.n_turned_away < 1000
