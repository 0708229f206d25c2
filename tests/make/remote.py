"""Workers on other machines, played by processes of this one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from care_live.worker.remote_port import RemotePort
from care_live.worker.remote_protocol import Invitation
from tests.make.waiting import until

WAIT_S = 240.0


@contextmanager
def remote_worker(invitation: Invitation, stderr: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    """Give a worker's process, as a Dask task starts it."""
    command = [sys.executable, "-m", "care_live.worker.remote_worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr) as process:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(invitation) + b"\n")
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def open_port() -> Iterator[RemotePort]:
    port = RemotePort("tcp://127.0.0.1:0")
    try:
        yield port
    finally:
        port.close()


def until_connected(port: RemotePort, n: int = 1) -> None:
    until(lambda: len(port.hosts) == n, WAIT_S)
