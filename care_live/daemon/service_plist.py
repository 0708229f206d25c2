"""``care-live run`` as a service of macOS' launchd: its property list, and its way in and out. Calculations only.

A user's own agent needs no rights and runs while that user is logged in; a daemon of the machine runs from boot on.
"""

from __future__ import annotations

import plistlib
from dataclasses import replace
from pathlib import Path

from care_live.daemon.service_rule import PAUSE_S, ServiceRule
from care_live.daemon.service_steps import InstallStep, RemoveFile, SystemRequest, WriteFile

_NOT_THERE = frozenset({3, 113})
"""launchctl's: no such process, no such service."""
_GOES_ON = frozenset({36})
"""launchctl's: the service ends, and has not ended yet."""


def plist_text(rule: ServiceRule) -> str:
    """Return the property list of the process that keeps the daemon, and its log beside the config: launchd has none.

    It starts the daemon again by itself, and ends well where the daemon is not to be started again.
    """
    return plistlib.dumps(
        {
            "Label": _label(rule.name),
            "ProgramArguments": list(rule.host_command),
            "WorkingDirectory": str(rule.config_file.parent),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": PAUSE_S,
            "ExitTimeOut": rule.stop_s,
            "ProcessType": "Interactive",  # else launchd slows its disk and processor down
        }
    ).decode()


def plist_path(name: str, *, system: bool, home: Path) -> Path:
    """Return where launchd looks for a daemon of the machine, or for an agent of the user whose `home` it is."""
    folder = Path("/Library/LaunchDaemons") if system else home / "Library" / "LaunchAgents"
    return folder / f"{_label(name)}.plist"


def plist_installed(rule: ServiceRule, path: Path, *, user_id: int | None) -> list[InstallStep]:
    """Return the steps that write the list and start the service; `user_id` is None for one of the machine."""
    start = SystemRequest(("launchctl", "bootstrap", _domain(user_id), str(path)))
    return [
        WriteFile(path, plist_text(rule)),
        replace(_stopped(rule.name, user_id), again=(start.command,)),  # one that runs with an older list
        start,
    ]


def plist_removed(name: str, path: Path, *, user_id: int | None) -> list[InstallStep]:
    """Return the steps that drain and stop the service, and take its list away."""
    return [_stopped(name, user_id), RemoveFile(path)]


def _stopped(name: str, user_id: int | None) -> SystemRequest:
    return SystemRequest(
        ("launchctl", "bootout", f"{_domain(user_id)}/{_label(name)}"), accepts=_NOT_THERE, goes_on=_GOES_ON
    )


def _domain(user_id: int | None) -> str:
    return "system" if user_id is None else f"gui/{user_id}"


def _label(name: str) -> str:
    return f"org.care-live.{name}"
