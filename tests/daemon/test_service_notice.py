"""What a run sends to systemd."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from care_live.daemon.service_notice import tell_service
from tests.make.runs import config, movie, replay, run

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux'")


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(tmp_path / "notify"))
        service.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield service


@linux
@pytest.mark.slow
def test_a_run_says_that_it_is_ready_and_how_it_goes_on(tmp_path: Path, notices: socket.socket) -> None:
    movie(tmp_path / "movie.tif", times=1)
    run(config(tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "wait"}))
    said = [notices.recv(4096).decode() for _ in range(2)]
    assert said[0].startswith("READY=1\nSTATUS=")
    assert [one for one in said if one.startswith("READY")] == said[:1]
    assert "the acquisition runs" in said[1]


def test_without_systemd_nothing_is_said() -> None:
    assert not tell_service("waiting", {})
    assert not tell_service("waiting", {"NOTIFY_SOCKET": "/nowhere/at/all"})


@linux
def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind("")  # Linux chooses an abstract name
        service.settimeout(20)
        assert tell_service("draining", {"NOTIFY_SOCKET": f"@{service.getsockname()[1:].decode()}"})
        assert service.recv(4096).startswith(b"STOPPING=1")
