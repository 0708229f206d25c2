"""Services are installed whole, removed whole, and taken back where an install fails."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from care_live.daemon import service_unit
from care_live.daemon.service_install import install_service, remove_service
from care_live.errors import CareLiveError, ConfigError

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux'")
FOLLOWS = '[source]\nkind = "remote"\n'


class System:
    """Takes every request, but the ones that it is to refuse."""

    def __init__(self, refuses: str = "", code: int = 1, says: str = "python -m care_live.daemon.service_host") -> None:
        self.refuses, self.says = refuses, says
        self.code = code
        self.asked: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.asked.append(list(command))
        failed = bool(self.refuses) and self.refuses in command
        said = "" if failed else self.says
        return subprocess.CompletedProcess(command, self.code if failed else 0, said, "Access denied\n" * failed)


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
    assert "systemctl --user enable lab.service; systemctl --user restart lab.service" in said
    assert unit.read_text(encoding="utf-8").count("Type=notify") == 1
    assert "removed" in remove_service("lab", system=False, platform="linux", run=systemctl)
    assert not unit.exists()
    assert [command[2:] for command in systemctl.asked] == [
        ["daemon-reload"],
        ["enable", "lab.service"],
        ["restart", "lab.service"],
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
    assert windows.asked[5][:3] == ["reg.exe", "query", windows.asked[3][2]]
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
            r"^wrote .*lab.service; .*daemon-reload; then .*enable lab.service failed \(1\): Access denied; tak",
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
    unit.write_text("care_live, as it was", encoding="utf-8")
    systemctl = System("enable")
    with pytest.raises(CareLiveError, match="taken back: wrote"):
        install_service("lab", run_toml, system=False, platform="linux", run=systemctl)
    assert unit.read_text(encoding="utf-8") == "care_live, as it was"
    assert not any("disable" in command for command in systemctl.asked)
    assert [command[2] for command in systemctl.asked] == ["daemon-reload", "enable", "daemon-reload", "restart"]


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_service_of_another_program_stays_as_it_is(
    run_toml: Path, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = install_service("lab", run_toml, system=False, platform=platform, run=System())
    file = Path(said.split(";")[0].removeprefix("wrote "))
    others = run_toml.with_name("vendor")
    monkeypatch.setitem(service_unit.OTHERS, False, (others,))
    file.write_text("[Service]\nExecStart=/usr/sbin/sshd\n", encoding="utf-8")
    system = System()
    for attempt in (
        lambda: install_service("lab", run_toml, system=False, platform=platform, run=system),
        lambda: remove_service("lab", system=False, platform=platform, run=system),
    ):
        with pytest.raises(ConfigError, match="another program: give another --unit"):
            attempt()
    assert "sshd" in file.read_text(encoding="utf-8") and not system.asked
    if platform == "linux":
        file.unlink()
        others.mkdir()
        (others / "lab.service").touch()
        with pytest.raises(ConfigError, match=r"vendor.lab\.service is the service of another program"):
            install_service("lab", run_toml, system=False, platform=platform, run=system)
        assert not file.exists()


def test_a_service_of_windows_itself_is_not_stopped() -> None:
    windows = System(says="    ImagePath    REG_EXPAND_SZ    %SystemRoot%\\System32\\spoolsv.exe")
    with pytest.raises(CareLiveError, match=r"another program's, .*give another --unit"):
        remove_service("Spooler", system=False, platform="win32", run=windows)
    assert [command[0] for command in windows.asked] == ["reg.exe"]
    with pytest.raises(CareLiveError, match="no such service"):
        remove_service("lab", system=False, platform="win32", run=System(refuses="query"))


def test_a_service_that_is_not_the_users_own_is_pointed_at(run_toml: Path) -> None:
    install_service("lab", run_toml, system=False, platform="linux", run=System())
    with pytest.raises(ConfigError, match=r"there is no service /etc/.*; there is one of yours, without --system"):
        remove_service("lab", system=True, platform="linux", run=System())


@linux
@pytest.mark.parametrize("folder", ["a b ", "a b\\"])
def test_a_folder_that_a_unit_cannot_hold_is_refused(run_toml: Path, folder: str) -> None:
    config = run_toml.parent.with_name(folder) / "run.toml"
    config.parent.mkdir()
    config.write_text(FOLLOWS, encoding="utf-8")
    with pytest.raises(ConfigError, match="rename it"):
        install_service("lab", config, system=False, platform="linux", run=System())


def test_a_service_of_windows_that_does_not_start_is_deleted_but_not_another_of_its_name(run_toml: Path) -> None:
    for refused, undone in (("start", True), ("create", False)):
        windows = System(refused, 1073)
        with pytest.raises(CareLiveError):
            install_service("lab", run_toml, system=False, platform="win32", run=windows)
        assert (["sc.exe", "delete", "lab"] in windows.asked) is undone
