"""``care-live service``: which system this is, and so by which steps a service comes and goes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from care_live.config import load
from care_live.daemon import service_plist, service_unit, service_windows
from care_live.daemon.service_rule import ServiceRule, rule_of, service_name
from care_live.daemon.service_steps import OURS, InstallStep, RunCommand, take
from care_live.errors import ConfigError


def install_service(
    name: str, config_file: Path, *, system: bool, platform: str = sys.platform, run: RunCommand | None = None
) -> str:
    """Make a service that runs a config, start it now and at each boot or login; say what happened.

    Parameters
    ----------
    system : a service of the machine, not of the user; on Windows every service is
    platform : as `sys.platform` names it

    Raises
    ------
    ConfigError
        The config or the name is invalid, a file cannot be written, or another program has a service of that name.
    CareLiveError
        The system refuses the service.
    """
    config_file = config_file.resolve()
    rule = rule_of(name, config_file, load(config_file))
    said = take(_installed(rule, system=system, platform=platform), run)
    kept_by_system = platform.startswith("linux")
    return said if kept_by_system else f"{said}; the log is {rule.log_file}"


def remove_service(name: str, *, system: bool, platform: str = sys.platform, run: RunCommand | None = None) -> str:
    """Stop a service, whose run is drained, and take it away; say what happened.

    Raises
    ------
    ConfigError
        There is no such service.
    CareLiveError
        The system cannot stop it.
    """
    return take(_removed(service_name(name), system=system, platform=platform), run)


def _installed(rule: ServiceRule, *, system: bool, platform: str) -> list[InstallStep]:
    if platform == "win32":
        return service_windows.windows_installed(rule)
    path = _file(rule.name, system=system, platform=platform)
    refuse_foreign(path)
    if platform == "darwin":
        return service_plist.plist_installed(rule, path, user_id=_user_id(system=system))
    for folder in service_unit.OTHERS[system]:
        refuse_foreign(folder / path.name)
    return service_unit.unit_installed(rule, path, system=system)


def _removed(name: str, *, system: bool, platform: str) -> list[InstallStep]:
    if platform == "win32":
        return service_windows.windows_removed(name)
    path = _file(name, system=system, platform=platform)
    if not path.is_file():
        raise ConfigError(f"there is no service {path}{_elsewhere(name, system=system, platform=platform)}")
    refuse_foreign(path)
    if platform == "darwin":
        return service_plist.plist_removed(name, path, user_id=_user_id(system=system))
    return service_unit.unit_removed(path, system=system)


def refuse_foreign(path: Path) -> None:
    """Raise a ConfigError where another program has a service of that name."""
    if path.exists() or path.is_symlink():
        try:
            is_ours = OURS.encode() in path.read_bytes()
        except OSError:
            is_ours = False
        if not is_ours:
            raise ConfigError(f"{path} is the service of another program: give another --unit")


def _elsewhere(name: str, *, system: bool, platform: str) -> str:
    """Return where to look instead, where the other kind of service has that name."""
    other = _file(name, system=not system, platform=platform)
    if not other.is_file():
        return ""
    return f"; there is one of {'yours, without' if system else 'the machine, with'} --system"


def _file(name: str, *, system: bool, platform: str) -> Path:
    if platform == "darwin":
        return service_plist.plist_path(name, system=system, home=Path.home())
    if not platform.startswith("linux"):
        raise ConfigError(f"care-live service knows systemd, launchd and Windows, and not {platform}")
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return service_unit.unit_path(name, system=system, config_home=home)


def _user_id(*, system: bool) -> int | None:
    if sys.platform == "win32":
        return None
    else:
        return None if system else os.getuid()
