"""``care-live run`` as a service of systemd: the unit file, and its way in and out.

A user's own unit needs no rights; it starts when that user logs in, or at boot after ``loginctl enable-linger``.
There is no ``WatchdogSec``: systemd would kill a daemon that waits for a slow disk, with the raw planes in its memory.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from care_live.config import Config, FolderConfig, LiveSourceConfig, RemoteConfig, StudioConfig, load
from care_live.errors import CareLiveError, ConfigError

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]

_NAME = re.compile(r"^[0-9A-Za-z_-]{1,64}$")
_STOP_S = 420
"""More than a drain: raw volumes that have arrived are written before, however slow the disk is."""
_START_S = 300
_ASKED_S = 60.0


def unit_text(config_file: Path, config: Config, *, python: str = sys.executable, wanted_by: str) -> str:
    """Return the unit file of a daemon.

    A source that waits for what others acquire is started again after each run, for the next one. A run that the config
    names goes on after a failure where it stopped, and is over when it has finished.

    Raises
    ------
    ConfigError
        Each boot would expose the specimen anew.
    """
    follows = isinstance(config.source, RemoteConfig | FolderConfig | StudioConfig | LiveSourceConfig)
    if not follows and config.run_id is None:
        raise ConfigError(
            f"source.kind = {config.source.kind!r} would acquire anew at each start of this machine: set run_id, so "
            "that a start goes on where the run stopped, or let the daemon follow "
            '("remote", "folder", "studio", "live")'
        )
    restart = "on-failure" if config.run_id is not None else "always"
    command = " ".join(map(_quoted, (python, "-m", "care_live", "run", str(config_file))))
    return f"""\
[Unit]
Description=care_live: restores volumes while they are acquired ({_escaped(str(config_file))})
Documentation=https://github.com/care-live/care_live#readme
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={_escaped(str(config_file.parent))}
Restart={restart}
RestartSec=5
RestartPreventExitStatus=2
KillMode=mixed
TimeoutStartSec={_START_S}
TimeoutStopSec={int(_STOP_S + config.daemon.drain_s)}

[Install]
WantedBy={wanted_by}
"""


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Return one word of a command line as systemd reads it."""
    escaped = _escaped(word.replace("\\", "\\\\").replace('"', '\\"')).replace("$", "$$")
    return f'"{escaped}"'


class SystemdService:
    """A unit of the user, or of the whole machine.

    Parameters
    ----------
    folder : of the unit files; None: where systemd looks
    run : runs a command; None: of this machine, where systemctl is there

    Raises
    ------
    ConfigError
        The name is not valid for a unit, or this is not Linux.
    """

    def __init__(self, name: str, *, system: bool = False, folder: Path | None = None, run: Run | None = None) -> None:
        if not _NAME.match(name):
            raise ConfigError(f"--unit {name[:80]!r} is invalid: wanted 1 to 64 letters, digits, _ or -")
        if not sys.platform.startswith("linux") and run is None:
            raise ConfigError(
                "care-live service is for systemd on Linux; on Windows let the Task Scheduler, or a service wrapper, "
                "start: care-live run CONFIG"
            )
        self._unit = f"{name}.service"
        self._scope = [] if system else ["--user"]
        self._wanted_by = "multi-user.target" if system else "default.target"
        self.path = (folder or _folder(system=system)) / self._unit
        self._run = run or (_systemctl if shutil.which("systemctl") else None)

    def install(self, config_file: Path) -> str:
        """Write the unit, start it now and at each boot or login; say what happened.

        Raises
        ------
        ConfigError
            The config is invalid, or the unit cannot be written.
        CareLiveError
            systemd refuses it.
        """
        config_file = config_file.resolve()
        text = unit_text(config_file, load(config_file), wanted_by=self._wanted_by)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error.strerror or error}") from error
        return f"wrote {self.path}; {self._ask(['daemon-reload'], ['enable', '--now', self._unit])}"

    def remove(self) -> str:
        """Stop the service (its run is drained) and take the unit away; say what happened.

        Raises
        ------
        ConfigError
            There is no such unit.
        CareLiveError
            systemd cannot stop it.
        """
        if not self.path.is_file():
            raise ConfigError(f"there is no service {self.path}")
        stopped = self._ask(["disable", "--now", self._unit])
        self.path.unlink()
        return f"{stopped}; removed {self.path}; {self._ask(['daemon-reload'])}"

    def _ask(self, *requests: Sequence[str]) -> str:
        commands = [["systemctl", *self._scope, *request] for request in requests]
        said = "; ".join(" ".join(command) for command in commands)
        if self._run is None:
            return f"systemctl is not here: run {said}"
        for command in commands:
            done = self._run(command)
            if done.returncode:
                why = " ".join((done.stderr or done.stdout).split())[:300]
                raise CareLiveError(f"{' '.join(command)} failed ({done.returncode}): {why}; the unit is {self.path}")
        return said


def _folder(*, system: bool) -> Path:
    if system:
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _systemctl(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        # a stop waits for the drain
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_STOP_S + _ASKED_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CareLiveError(f"{' '.join(command)} failed: {error}") from error
