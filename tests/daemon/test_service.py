"""Services: what systemd gets of a run; what systemd, launchd and Windows are asked for; what keeps the daemon."""

from __future__ import annotations

import plistlib
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from care_live.config import Config, parse
from care_live.daemon.service_control import RUNNING, STOP_PENDING, STOPPED, state_of
from care_live.daemon.service_host import DaemonKeeper, open_log, rule_of_arguments
from care_live.daemon.service_install import install_service, remove_service
from care_live.daemon.service_notice import tell_service
from care_live.daemon.service_plist import plist_text
from care_live.daemon.service_rule import Restart, ServiceRule, rule_of
from care_live.daemon.service_steps import RemoveFile, take
from care_live.daemon.service_unit import unit_text
from care_live.daemon.service_windows import host_command
from care_live.errors import CareLiveError, ConfigError
from tests.make.runs import config, movie, replay, run

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux'")

FOLLOWS = '[source]\nkind = "remote"\n'


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
    rule = rule_of("worm", Path("/data/a b/worm 5%.toml"), asked, python="/opt/py")
    text = unit_text(rule, system=False)
    assert f"\nRestart={restart}\n" in text
    assert f'ExecStart="/opt/py" "-m" "care_live" "run" "{str(rule.config_file).replace("%", "%%")}"\n' in text.replace(
        "\\\\", "\\"
    )
    assert "\nType=notify\n" in text
    assert "\nTimeoutStopSec=480\n" in text
    job = plistlib.loads(plist_text(rule).encode())
    assert job["KeepAlive"] == (True if restart == "always" else {"SuccessfulExit": False})
    assert job["ProgramArguments"][-1] == str(rule.config_file)
    assert job["ExitTimeOut"] == 480
    assert rule_of_arguments(host_command(rule)[3:]) == ServiceRule("worm", rule.config_file, rule.restart, 480)


def test_a_microscope_that_each_boot_would_expose_anew_is_refused() -> None:
    with pytest.raises(ConfigError, match="would acquire anew at each start of this machine: set run_id"):
        rule_of("worm", Path("a.toml"), settings(source={"kind": "micromanager"}))


class System:
    """Takes every request, but the ones that it is to refuse."""

    def __init__(self, refuses: str = "", code: int = 1) -> None:
        self.refuses = refuses
        self.code = code
        self.asked: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.asked.append(list(command))
        failed = bool(self.refuses) and self.refuses in command
        return subprocess.CompletedProcess(command, self.code if failed else 0, "", "Access denied\n" if failed else "")


@pytest.fixture
def run_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "run.toml").write_text(FOLLOWS, encoding="utf-8")
    return tmp_path / "a b" / "run.toml"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_the_unit(run_toml: Path, tmp_path: Path) -> None:
    install_service("care-live", run_toml, system=False, platform="linux", run=System())
    unit = tmp_path / "home" / "systemd" / "user" / "care-live.service"
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "care-live.service" in line]
    assert not ours


def test_a_unit_is_installed_and_removed(run_toml: Path, tmp_path: Path) -> None:
    systemctl = System()
    unit = tmp_path / "home" / "systemd" / "user" / "lab.service"
    said = install_service("lab", run_toml, system=False, platform="linux", run=systemctl)
    assert "systemctl --user enable --now lab.service" in said
    assert unit.read_text(encoding="utf-8").count("Type=notify") == 1
    assert "removed" in remove_service("lab", system=False, platform="linux", run=systemctl)
    assert not unit.exists()
    assert [command[2:] for command in systemctl.asked] == [
        ["daemon-reload"],
        ["enable", "--now", "lab.service"],
        ["disable", "--now", "lab.service"],
        ["daemon-reload"],
    ]
    with pytest.raises(ConfigError, match="there is no service"):
        remove_service("lab", system=False, platform="linux", run=systemctl)


def test_a_job_of_launchd_is_installed_and_removed(run_toml: Path, tmp_path: Path) -> None:
    launchctl = System(refuses="bootout", code=3)  # no such process: it does not run yet, or no more
    job = tmp_path / "home" / "Library" / "LaunchAgents" / "org.care-live.lab.plist"
    said = install_service("lab", run_toml, system=False, platform="darwin", run=launchctl)
    assert said.endswith(f"the log is {run_toml.with_name('lab.log')}")
    assert plistlib.loads(job.read_bytes())["Label"] == "org.care-live.lab"
    remove_service("lab", system=False, platform="darwin", run=launchctl)
    assert not job.exists()
    assert [command[1] for command in launchctl.asked] == ["bootout", "bootstrap", "bootout"]


def test_a_service_of_windows_is_made_and_taken_away(run_toml: Path) -> None:
    windows = System(refuses="stop", code=1062)  # it does not run
    install_service("lab", run_toml, system=False, platform="win32", run=windows)
    line = subprocess.list2cmdline([sys.executable, "-m", "care_live.daemon.service_host", "lab", str(run_toml)])
    assert windows.asked[0][:4] == ["sc.exe", "create", "lab", "binPath="]
    assert windows.asked[0][4] == f"{line} always 480"
    assert windows.asked[0][5:7] == ["start=", "auto"]
    assert "480000" in windows.asked[3]
    remove_service("lab", system=False, platform="win32", run=windows)
    assert [command[1] for command in windows.asked if command[0] == "sc.exe"] == [
        "create",
        "description",
        "failure",
        "start",
        "stop",
        "delete",
    ]


@pytest.mark.parametrize(
    ("platform", "refused", "code", "message"),
    [
        (
            "linux",
            "enable",
            1,
            r"^wrote .*lab.service; .*daemon-reload; then .*enable --now lab.service failed \(1\): Access denied; tak",
        ),
        (
            "linux",
            "daemon-reload",
            1,
            r"^wrote .*failed \(1\): Access denied; .* log in without su or sudo, or give --system; taken back: ",
        ),
        ("win32", "create", 5, r"failed \(5\): Access denied; open the terminal with 'Run as administrator'$"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    run_toml: Path, platform: str, refused: str, code: int, message: str
) -> None:
    with pytest.raises(CareLiveError, match=message):
        install_service("lab", run_toml, system=False, platform=platform, run=System(refused, code))
    with pytest.raises(ConfigError, match="is invalid"):
        install_service("../lab", run_toml, system=False, platform=platform, run=System())


@pytest.mark.parametrize("refused", ["daemon-reload", "enable"])
def test_an_install_that_fails_takes_back_what_it_wrote(run_toml: Path, tmp_path: Path, refused: str) -> None:
    systemctl, unit = System(refused), tmp_path / "home" / "systemd" / "user" / "lab.service"
    with pytest.raises(CareLiveError, match=r"taken back: .*removed .*lab\.service$"):
        install_service("lab", run_toml, system=False, platform="linux", run=systemctl)
    assert not unit.exists()
    undone = [["disable", "--now", "lab.service"]] if refused == "enable" else []
    assert [command[2:] for command in systemctl.asked if "disable" in command] == undone


def test_an_install_over_another_that_fails_leaves_the_other(run_toml: Path, tmp_path: Path) -> None:
    unit = tmp_path / "home" / "systemd" / "user" / "lab.service"
    install_service("lab", run_toml, system=False, platform="linux", run=System())
    unit.write_text("as it was", encoding="utf-8")
    systemctl = System("enable")
    with pytest.raises(CareLiveError, match="taken back: wrote"):
        install_service("lab", run_toml, system=False, platform="linux", run=systemctl)
    assert unit.read_text(encoding="utf-8") == "as it was"
    assert not any("disable" in command for command in systemctl.asked)


def test_a_service_of_windows_that_does_not_start_is_deleted_but_not_another_of_its_name(run_toml: Path) -> None:
    for refused, undone in (("start", True), ("create", False)):
        windows = System(refused, 1073)
        with pytest.raises(CareLiveError):
            install_service("lab", run_toml, system=False, platform="win32", run=windows)
        assert (["sc.exe", "delete", "lab"] in windows.asked) is undone


def test_a_file_that_cannot_be_removed_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot remove"):
        take([RemoveFile(tmp_path)])  # a folder


def test_what_windows_gets_of_a_service() -> None:
    running, stopping, failed = state_of(RUNNING), state_of(STOP_PENDING, checkpoint=3), state_of(STOPPED, exit_code=2)
    assert (running.accepts, running.patience_ms) == (0x101, 0)
    assert (stopping.accepts, stopping.checkpoint, stopping.patience_ms) == (0, 3, 30_000)
    assert (failed.error, failed.exit_code) == (1066, 2)
    assert state_of(STOPPED).error == 0


FAILS_TWICE = """
import pathlib, sys
seen = pathlib.Path("starts")
seen.write_text((seen.read_text() if seen.exists() else "") + "x")
sys.exit(2 if len(seen.read_text()) == 3 else 1)
"""
DRAINS = """
import pathlib, sys
pathlib.Path("started").touch()
print("running", flush=True)
sys.stdin.read()
print("drained", flush=True)
"""


def keeper(folder: Path, script: str, restart: Restart = "always") -> DaemonKeeper:
    rule = ServiceRule("lab", folder / "run.toml", restart, stop_s=60)
    return DaemonKeeper(rule, command=[sys.executable, "-c", script], pause_s=0.01)


def test_a_daemon_is_started_again_but_not_with_an_invalid_config(tmp_path: Path) -> None:
    assert keeper(tmp_path, FAILS_TWICE).run(lambda: None) == 2
    assert (tmp_path / "starts").read_text() == "xxx"


def test_an_order_to_stop_drains_the_daemon(tmp_path: Path) -> None:
    kept = keeper(tmp_path, DRAINS)
    codes: list[int] = []
    host = threading.Thread(target=lambda: codes.append(kept.run(lambda: None)))
    host.start()
    try:
        while not (tmp_path / "started").exists():
            host.join(0.05)
            assert host.is_alive()
    finally:
        kept.stop()
        host.join(60)
    assert codes == [0]
    assert (tmp_path / "lab.log").read_text() == "running\ndrained\n"


def test_a_long_log_begins_anew(tmp_path: Path) -> None:
    log = tmp_path / "lab.log"
    with log.open("wb") as file:
        file.truncate(10_000_001)
    open_log(log).close()
    assert log.stat().st_size == 0
    assert (tmp_path / "lab.log.1").stat().st_size == 10_000_001
