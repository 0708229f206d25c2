"""The door before a server's socket: its budget holds, and a client that goes away in any way does no harm."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from care_live.errors import StageError
from care_live.wire.door import Behind
from care_live.wire.relay import Budget, Relayed
from care_live.wire.sockets import Sockets
from tests.make.doors import Server, eventually, is_served


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
