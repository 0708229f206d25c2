"""``care-live run`` as a service of Windows: how ``sc.exe`` makes it and takes it away. Calculations only.

What Windows starts is `care_live.daemon.service_host`, which answers the service control manager and keeps the daemon.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace

from care_live.daemon.service_rule import ServiceRule
from care_live.daemon.service_steps import OURS, InstallStep, SystemRequest

_NO_RIGHTS, _NO_SUCH, _NOT_STARTED, _EXISTS = 5, 1060, 1062, 1073
_ADVICE = {
    _NO_RIGHTS: "open the terminal with 'Run as administrator'",
    _NO_SUCH: "this machine has no such service",
    _EXISTS: "remove it first: care-live service remove",
}
_AGAIN = "restart/5000/restart/5000/restart/60000"
"""What Windows does where the host itself dies, milliseconds."""


def windows_installed(rule: ServiceRule) -> list[InstallStep]:
    """Return the steps that make the service, start it now and at each boot.

    It runs as LocalSystem; ``services.msc`` gives it another account. Before a shutdown Windows waits for its drain.
    """
    wait_ms = str(1000 * rule.stop_s)
    line = subprocess.list2cmdline(rule.host_command)
    create = _sc("create", rule.name, "binPath=", line, "start=", "auto", "DisplayName=", f"care_live ({rule.name})")
    return [
        replace(create, undo=_sc("delete", rule.name).command),
        _sc("description", rule.name, rule.description),
        _sc("failure", rule.name, "reset=", "86400", "actions=", _AGAIN),
        SystemRequest(
            ("reg.exe", "add", _key(rule.name), "/v", "PreshutdownTimeout", "/t", "REG_DWORD", "/d", wait_ms, "/f")
        ),
        _sc("start", rule.name),
    ]


def windows_removed(name: str) -> list[InstallStep]:
    """Return the steps that order the service to drain, and take it away when it has ended.

    Any service of Windows may be stopped in this way, so what it runs is looked at first.
    """
    return [
        SystemRequest(("reg.exe", "query", _key(name), "/v", "ImagePath"), advice={1: _ADVICE[_NO_SUCH]}, wanted=OURS),
        SystemRequest(("sc.exe", "stop", name), accepts=frozenset({_NOT_STARTED}), advice=_ADVICE),
        _sc("delete", name),
    ]


def _key(name: str) -> str:
    return rf"HKLM\SYSTEM\CurrentControlSet\Services\{name}"


def _sc(*request: str) -> SystemRequest:
    return SystemRequest(("sc.exe", *request), advice=_ADVICE)
