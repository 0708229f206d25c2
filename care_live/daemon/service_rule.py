"""What a service runs, and when it starts again; the same on every system. Calculations only."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from care_live.config import Config, FolderConfig, LiveSourceConfig, RemoteConfig, StudioConfig
from care_live.errors import ConfigError

Restart: TypeAlias = Literal["always", "on-failure"]

PAUSE_S = 5
"""From the end of a daemon to its next start."""
INVALID = 2
"""The exit code of an invalid config: another start would end in the same way."""

_NAME = re.compile(r"[0-9A-Za-z_-]{1,64}")
_HOST = "care_live.daemon.service_host"
_STOP_S = 420
"""More than a drain: raw volumes that have arrived are written before, however slow the disk is."""


@dataclass(frozen=True, slots=True)
class ServiceRule:
    """One service."""

    name: str
    config_file: Path
    """Absolute."""
    restart: Restart
    """Always: the source waits for what others acquire, one run after the other. On failure: one run, to its end."""
    stop_s: int
    """The longest drain, seconds."""
    python: str = sys.executable

    @property
    def command(self) -> tuple[str, ...]:
        return (self.python, "-m", "care_live", "run", str(self.config_file))

    @property
    def description(self) -> str:
        return f"care_live: restores volumes while they are acquired ({self.config_file})"

    @property
    def host_command(self) -> tuple[str, ...]:
        """Start the process that keeps the daemon and its log; `care_live.daemon.service_host.main` reads it."""
        return (self.python, "-m", _HOST, self.name, str(self.config_file), self.restart, str(self.stop_s))

    @property
    def log_file(self) -> Path:
        """Where the daemon's log goes on systems that keep none of their own."""
        return self.config_file.with_name(f"{self.name}.log")


def service_name(name: str) -> str:
    """Return the name.

    Raises
    ------
    ConfigError
        It is invalid: a service is a file, or a key of the registry.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--unit {name[:80]!r} is invalid: wanted 1 to 64 letters, digits, _ or -")
    return name


def rule_of(name: str, config_file: Path, config: Config, *, python: str = sys.executable) -> ServiceRule:
    """Return how a daemon is run as a service.

    Raises
    ------
    ConfigError
        The name is invalid, the file's name would be more than one line of a service's file, or each boot would expose
        the specimen anew.
    """
    if not str(config_file).isprintable():
        raise ConfigError(f"{str(config_file)!r} has characters that a service's file cannot hold: rename it")
    follows = isinstance(config.source, RemoteConfig | FolderConfig | StudioConfig | LiveSourceConfig)
    if not follows and config.run_id is None:
        raise ConfigError(
            f"source.kind = {config.source.kind!r} would acquire anew at each start of this machine: set run_id, so "
            "that a start goes on where the run stopped, or let the daemon follow "
            '("remote", "folder", "studio", "live")'
        )
    restart: Restart = "always" if config.run_id is None else "on-failure"
    stop_s = int(_STOP_S + config.daemon.drain_s)
    return ServiceRule(service_name(name), config_file, restart, stop_s, python)


def starts_again(restart: Restart, exit_code: int) -> bool:
    """Whether a daemon that has ended by itself is started again."""
    return exit_code != INVALID and (restart == "always" or exit_code != 0)
