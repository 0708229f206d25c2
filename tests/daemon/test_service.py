"""systemd: what it is told of a run, the unit that starts one, and its way in and out."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from care_live.config import Config, parse
from care_live.daemon.service_notice import tell_service
from care_live.daemon.service_unit import SystemdService, unit_text
from care_live.errors import CareLiveError, ConfigError
from tests.make.runs import config, movie, replay, run

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux'")

FOLLOWS = '[source]\nkind = "remote"\n'


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(tmp_path / "notify"))
        service.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield service


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


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind("")  # Linux chooses an abstract name
        service.settimeout(20)
        assert tell_service("draining", {"NOTIFY_SOCKET": f"@{service.getsockname()[1:].decode()}"})
        assert service.recv(4096).startswith(b"STOPPING=1")


def settings(**changes: object) -> Config:
    return parse({"source": {"kind": "remote"}, **changes}, origin="test")


@pytest.mark.parametrize(
    ("asked", "restart"),
    [
        (settings(), "always"),
        (settings(source={"kind": "live"}), "always"),
        (settings(source={"kind": "studio"}), "always"),
        (settings(run_id="worm"), "on-failure"),
        (settings(source={"kind": "virtual"}, run_id="worm"), "on-failure"),
    ],
)
def test_a_follower_starts_for_each_run_and_a_named_run_goes_on(asked: Config, restart: str) -> None:
    text = unit_text(Path("/data/a b/worm 5%.toml"), asked, python="/opt/py", wanted_by="default.target")
    assert f"\nRestart={restart}\n" in text
    assert 'ExecStart="/opt/py" "-m" "care_live" "run" "/data/a b/worm 5%%.toml"\n' in text
    assert "\nType=notify\n" in text
    assert "\nTimeoutStopSec=480\n" in text


def test_a_microscope_that_each_boot_would_expose_anew_is_refused() -> None:
    with pytest.raises(ConfigError, match="would acquire anew at each start of this machine: set run_id"):
        unit_text(Path("a.toml"), settings(source={"kind": "micromanager"}), wanted_by="default.target")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "run.toml").write_text(FOLLOWS)
    service = SystemdService("care-live", folder=tmp_path, run=Systemctl())
    service.install(tmp_path / "a b" / "run.toml")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(service.path)], capture_output=True, text=True, timeout=60, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "care-live.service" in line]
    assert not ours


class Systemctl:
    """Takes every order, but the ones that it is to refuse."""

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.asked.append(" ".join(command))
        failed = bool(self.refuses) and self.refuses in command
        return subprocess.CompletedProcess(command, int(failed), "", "Access denied\n" if failed else "")


def test_a_service_is_installed_and_removed(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(FOLLOWS)
    systemctl = Systemctl()
    service = SystemdService("care-live", folder=tmp_path / "units", run=systemctl)
    assert "enable --now care-live.service" in service.install(tmp_path / "run.toml")
    assert service.path.read_text().count("Type=notify") == 1
    assert "removed" in service.remove()
    assert not service.path.exists()
    assert systemctl.asked == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now care-live.service",
        "systemctl --user disable --now care-live.service",
        "systemctl --user daemon-reload",
    ]
    with pytest.raises(ConfigError, match="there is no service"):
        service.remove()


def test_what_systemd_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(FOLLOWS)
    service = SystemdService("lab", system=True, folder=tmp_path, run=Systemctl(refuses="enable"))
    with pytest.raises(CareLiveError, match=r"systemctl enable --now lab.service failed \(1\): Access denied"):
        service.install(tmp_path / "run.toml")
    with pytest.raises(ConfigError, match="is invalid"):
        SystemdService("../lab")
