"""A worker on another machine ends with what it works for."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from care_live.wire.keys import ClientKeys
from care_live.wire.sockets import Sockets
from care_live.worker import remote_protocol, remote_worker
from care_live.worker.remote_port import RemotePort
from care_live.worker.remote_worker import RemoteWorker
from tests.make.remote import WAIT_S, open_port, until_connected
from tests.make.remote import remote_worker as started


@pytest.mark.slow
def test_a_worker_ends_with_the_program_that_started_it(port: RemotePort, tmp_path: Path, monkeypatch) -> None:
    """It leaves no file of the daemon behind."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path))
    with started(port.invitation(port.address)) as process:
        until_connected(port)
        assert list(tmp_path.iterdir())
        assert process.stdin is not None
        process.stdin.close()
        process.wait(WAIT_S)
    assert not list(tmp_path.iterdir())


def test_a_worker_ends_when_the_daemon_is_gone(port: RemotePort, tmp_path: Path, monkeypatch) -> None:
    """A daemon that is killed says nothing any more."""
    invitation = port.invitation(port.address)
    client = ClientKeys(invitation.own, invitation.server_public)

    def serve() -> None:
        with Sockets(client=client) as sockets:
            RemoteWorker(sockets, sockets.connect("dealer", "tcp://127.0.0.1:1"), tmp_path).serve()

    monkeypatch.setattr(remote_worker.link, "FORSAKEN_S", 0.5)
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(WAIT_S)
    assert not thread.is_alive()


def test_a_worker_that_is_dismissed_ends_without_an_error() -> None:
    with open_port() as port, started(port.invitation(port.address)) as worker:
        until_connected(port)
        port.close()
        assert worker.wait(WAIT_S) == 0


@pytest.mark.slow
def test_a_worker_of_another_version_is_refused_with_the_reason_on_both_sides(port: RemotePort, monkeypatch) -> None:
    theirs = remote_protocol.VERSION
    monkeypatch.setattr(remote_protocol, "VERSION", 1)
    with started(port.invitation(port.address), stderr=subprocess.PIPE) as worker:
        assert worker.wait(WAIT_S) == remote_worker.REFUSED
        assert worker.stderr is not None
        said = worker.stderr.read().decode()
    reason = f"has version {theirs} of the link, the daemon has 1: install the same care_live on both"
    assert reason in port.refused
    assert f"refused by the daemon at {port.address}: the worker on " in said
    assert reason in said
    assert port.hosts == ()
