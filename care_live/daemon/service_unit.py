"""``care-live run`` as a service of systemd: the unit file, and its way in and out. Calculations only.

A user's own unit needs no rights; it starts when that user logs in, or at boot after ``loginctl enable-linger``.
There is no ``WatchdogSec``: systemd would kill a daemon that waits for a slow disk, with the raw planes in its memory.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from care_live.daemon.service_rule import INVALID, PAUSE_S, ServiceRule
from care_live.daemon.service_steps import InstallStep, RemoveFile, SystemRequest, WriteFile
from care_live.errors import ConfigError

_START_S = 300

OTHERS = {
    True: (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"), Path("/run/systemd/system")),
    False: (Path("/usr/lib/systemd/user"), Path("/etc/systemd/user")),
}
"""Where units of other programs lie, of the machine and of users: one of ours would take its namesake's place."""
_AS_ROOT = {True: "a service of the machine needs root (sudo); your own is without --system", False: ""}
_NO_SESSION = {1: "a user's services need a session of that user: log in without su or sudo, or give --system"}
"""What to do where the first request finds no systemd of the user."""


def unit_text(rule: ServiceRule, *, system: bool) -> str:
    """Return the unit file of a daemon.

    Raises
    ------
    ConfigError
        The config's folder has a name that a unit cannot hold.
    """
    folder = str(rule.config_file.parent)
    if folder != folder.strip() or folder.endswith("\\"):
        raise ConfigError(f"systemd cannot run in {folder!r}, by the last letter of its name: rename it")
    command = " ".join(map(_quoted, rule.command))
    return f"""\
[Unit]
Description={_escaped(rule.description)}
Documentation=https://github.com/care-live/care_live#readme
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={_escaped(folder)}
Restart={rule.restart}
RestartSec={PAUSE_S}
RestartPreventExitStatus={INVALID}
KillMode=mixed
TimeoutStartSec={_START_S}
TimeoutStopSec={rule.stop_s}

[Install]
WantedBy={"multi-user.target" if system else "default.target"}
"""


def unit_path(name: str, *, system: bool, config_home: Path) -> Path:
    """Return where systemd looks for a unit of the machine, or of the user whose `config_home` it is."""
    return (Path("/etc/systemd") / "system" if system else config_home / "systemd" / "user") / f"{name}.service"


def unit_installed(rule: ServiceRule, path: Path, *, system: bool) -> list[InstallStep]:
    """Return the steps that write the unit, start it now and at each boot or login.

    Where it runs with an earlier file, that daemon is drained, and started with this one.
    """
    reload, restart = (_systemctl(*words, system=system) for words in (("daemon-reload",), ("restart", path.name)))
    stopped = _systemctl("disable", "--now", path.name, system=system).command
    return [
        WriteFile(path, unit_text(rule, system=system), _AS_ROOT[system]),
        replace(_first(reload, system=system), undo=stopped, again=(reload.command, restart.command)),
        _systemctl("enable", path.name, system=system),
        restart,
    ]


def unit_removed(path: Path, *, system: bool) -> list[InstallStep]:
    """Return the steps that stop the service, after its run was drained, and take the unit away."""
    return [
        _first(_systemctl("disable", "--now", path.name, system=system), system=system),
        RemoveFile(path, _AS_ROOT[system]),
        _systemctl("daemon-reload", system=system),
    ]


def _systemctl(*request: str, system: bool) -> SystemRequest:
    return SystemRequest(("systemctl", *([] if system else ["--user"]), *request))


def _first(request: SystemRequest, *, system: bool) -> SystemRequest:
    return request if system else replace(request, advice=_NO_SESSION)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Return one word of a command line as systemd reads it."""
    escaped = _escaped(word.replace("\\", "\\\\").replace('"', '\\"')).replace("$", "$$")
    return f'"{escaped}"'
