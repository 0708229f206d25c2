"""The steps by which a service comes and goes: files, and requests to the system. They are listed, then taken."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from care_live.errors import CareLiveError, ConfigError

Run: TypeAlias = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]

_ASKED_S = 900.0
"""A stop waits for the drain."""


@dataclass(frozen=True, slots=True)
class WriteFile:
    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class RemoveFile:
    path: Path


@dataclass(frozen=True, slots=True)
class Request:
    """A command of the system."""

    command: tuple[str, ...]
    accepts: frozenset[int] = frozenset()
    """Exit codes besides 0 that say that nothing was left to do."""
    advice: Mapping[int, str] = field(default_factory=dict)
    """What to do, by exit code."""


Step: TypeAlias = WriteFile | RemoveFile | Request


def run_command(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the system.

    Raises
    ------
    CareLiveError
        It could not be run, or did not end in time.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ASKED_S, errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CareLiveError(f"{' '.join(command)} failed: {error}") from error


def take(steps: Iterable[Step], run: Run | None = None) -> str:
    """Take one step after the other, and say what happened.

    Parameters
    ----------
    run : runs a command; None: this machine does, where it has the program

    Raises
    ------
    ConfigError
        A file cannot be written, or cannot be removed.
    CareLiveError
        The system refuses a request; the message says what was done before.
    """
    said: list[str] = []
    for step in steps:
        try:
            said.append(_take(step, run))
        except CareLiveError as error:
            raise type(error)("; then ".join(filter(None, ("; ".join(said), str(error))))) from error
    return "; ".join(said)


def _take(step: Step, run: Run | None) -> str:
    match step:
        case WriteFile(path, text):
            return _write(path, text)
        case RemoveFile(path):
            return _remove(path)
        case Request():
            return _ask(step, run)


def _write(path: Path, text: str) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    return f"wrote {path}"


def _remove(path: Path) -> str:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot remove {path}: {error.strerror or error}") from error
    return f"removed {path}"


def _ask(request: Request, run: Run | None) -> str:
    asked = subprocess.list2cmdline(request.command)
    if run is None and shutil.which(request.command[0]) is None:
        return f"{request.command[0]} is not here: run {asked}"
    done = (run or run_command)(request.command)
    code = done.returncode
    if code and code not in request.accepts:
        why = " ".join((done.stderr or done.stdout).split())[:300]
        raise CareLiveError(f"{asked} failed ({code}): {'; '.join(filter(None, (why, request.advice.get(code))))}")
    return asked
