"""The steps by which a service comes and goes: files, and requests to the system. They are listed, then taken."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from care_live.errors import CareLiveError, ConfigError

RunCommand: TypeAlias = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]

_ASKED_S = 900.0
"""A stop waits for the drain."""
_AGAIN_S = 1.0


OURS = "care_live"
"""Stands in each service that care_live makes, and in no other one."""


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Write a service's file: a new one, or in the place of an earlier one of care_live."""

    path: Path
    text: str
    advice: str = ""
    """What to do where it is not allowed."""


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """Remove a service's file of care_live."""

    path: Path
    advice: str = ""
    """What to do where it is not allowed."""


@dataclass(frozen=True, slots=True)
class SystemRequest:
    """A command of the system."""

    command: tuple[str, ...]
    accepts: frozenset[int] = frozenset()
    """Exit codes besides 0 that say that nothing was left to do."""
    advice: Mapping[int, str] = field(default_factory=dict)
    """What to do, by exit code."""
    goes_on: frozenset[int] = frozenset()
    """Exit codes that say that the system is still at it: it is asked again each second, while a drain may last."""
    undo: tuple[str, ...] = ()
    """The command that takes it back, where a later step fails; none: there is nothing to take back."""
    again: tuple[tuple[str, ...], ...] = ()
    """The commands that let the system take an earlier file again, where a later step fails and that file is back."""
    wanted: str = ""
    """What the answer must contain; else the service is another program's."""


InstallStep: TypeAlias = WriteFile | RemoveFile | SystemRequest


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


def take(
    steps: Iterable[InstallStep], run: RunCommand | None = None, *, pause: Callable[[float], None] = time.sleep
) -> str:
    """Take one step after the other, and say what happened; where one fails, those before it are taken back.

    Parameters
    ----------
    run : runs a command; None: this machine does, where it has the program
    pause : waits for seconds

    Raises
    ------
    ConfigError
        A file cannot be written, or cannot be removed.
    CareLiveError
        The system refuses a request; the message says what was done before, and what of it was taken back.
    """
    said: list[str] = []
    backward: list[InstallStep] = []
    again: list[SystemRequest] = []
    for step in steps:
        before = backward
        try:
            backward = [*_undone_by(step), *before]
            said.append(_take(step, run, pause))
            again += [SystemRequest(command) for command in step.again] if isinstance(step, SystemRequest) else []
        except CareLiveError as error:  # of a request that was refused there is nothing to take back
            undone = _take_back(before if isinstance(step, SystemRequest) else backward, again, run, pause)
            happened = "; then ".join(filter(None, ("; ".join(said), str(error))))
            raise type(error)("; taken back: ".join(filter(None, (happened, undone)))) from error
    return "; ".join(filter(None, said))


def _undone_by(step: InstallStep) -> list[InstallStep]:
    """Return what takes a step back, before it is taken."""
    match step:
        case WriteFile(path):
            return [WriteFile(path, _text_of(path)) if path.is_file() else RemoveFile(path)]
        case SystemRequest(undo=command) if command:
            return [SystemRequest(command)]
    return []


def _take_back(
    backward: Sequence[InstallStep],
    again: Sequence[SystemRequest],
    run: RunCommand | None,
    pause: Callable[[float], None],
) -> str:
    """Take steps back as far as that goes, and say what happened.

    Where a file existed before, the service did, too: the file is as it was, and the service stays, or starts again.
    """
    earlier = [step for step in backward if isinstance(step, WriteFile)]
    steps: Sequence[InstallStep] = [*earlier, *again] if earlier else backward
    said: list[str] = []
    for step in steps:
        try:
            said.append(_take(step, run, pause))
        except CareLiveError as error:
            said.append(str(error))
    return "; ".join(filter(None, said))


def _take(step: InstallStep, run: RunCommand | None, pause: Callable[[float], None]) -> str:
    match step:
        case WriteFile(path, text, advice):
            return _write(path, text, advice)
        case RemoveFile(path, advice):
            return _remove(path, advice)
        case SystemRequest():
            return _ask(step, run, pause)


def _text_of(path: Path) -> str:
    """Return a file's text; bytes that are no UTF-8 are written back as they were."""
    try:
        return path.read_bytes().decode(errors="surrogateescape")
    except OSError as error:
        raise ConfigError(f"cannot read {path}, which is there already: {error.strerror or error}") from error


def _write(path: Path, text: str, advice: str) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode(errors="surrogateescape"))
    except OSError as error:
        raise _not_allowed("write", path, error, advice) from error
    return f"wrote {path}"


def _remove(path: Path, advice: str) -> str:
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return ""  # it was never written
    except OSError as error:
        raise _not_allowed("remove", path, error, advice) from error
    return f"removed {path}"


def _not_allowed(doing: str, path: Path, error: OSError, advice: str) -> ConfigError:
    to_do = advice if isinstance(error, PermissionError) else ""
    return ConfigError("; ".join(filter(None, (f"cannot {doing} {path}: {error.strerror or error}", to_do))))


def _ask(request: SystemRequest, run: RunCommand | None, pause: Callable[[float], None]) -> str:
    asked = subprocess.list2cmdline(request.command)
    if run is None and shutil.which(request.command[0]) is None:
        return f"{request.command[0]} is not here: run {asked}"
    done = _done(request, run or run_command, pause)
    code = done.returncode
    if code and code not in request.accepts:
        why = " ".join((done.stderr or done.stdout).split())[:300]
        raise CareLiveError(f"{asked} failed ({code}): {'; '.join(filter(None, (why, request.advice.get(code))))}")
    if request.wanted not in done.stdout:
        raise CareLiveError(f"that service is another program's, by {asked}: give another --unit")
    return asked


def _done(request: SystemRequest, run: RunCommand, pause: Callable[[float], None]) -> subprocess.CompletedProcess[str]:
    """Ask until the system is no longer at it."""
    waited_s = 0.0
    while True:
        done = run(request.command)
        if done.returncode not in request.goes_on or waited_s >= _ASKED_S:
            return done
        pause(_AGAIN_S)
        waited_s += _AGAIN_S
