"""Foreign files are read in a process of their own, where a hang or a crash does no harm.

Libraries in C that parse a damaged file can do both (HDF5 walks in circles, converters crash), and none can be
stopped in the process that calls it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from care_live.errors import CareLiveError, ConfigError, ModelError

_MIB = "CARE_LIVE_CONFINED_MIB"
"""In the environment of a confined process: the memory that it may take."""
_MARK = "CARE_LIVE_CONFINED_MARK"
"""The same: the mark of the process that started it."""
_START = secrets.token_hex(4)
"""Another one on each machine that writes to the same disk."""


class Said(NamedTuple):
    """What a confined process gave back."""

    output: bytes
    exit_code: int
    complaint: str
    """The last line that it wrote to stderr."""


def run(module: str, arguments: Sequence[str], what: str, *, limit_s: float, limit_mib: int) -> Said:
    """Run a module of this package in a process with a deadline and limited memory.

    Parameters
    ----------
    what : the file that is read, for error messages

    Raises
    ------
    ModelError
        The process did not end in time, or crashed.
    """
    package = Path(__file__).parents[2]
    paths = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-P", "-m", module, *arguments]  # -P: no module comes from the folder it runs in
    environment = os.environ | {"PYTHONPATH": paths, _MIB: str(limit_mib), _MARK: mark()}
    try:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{what} was not read within {limit_s:.0f} s: it is damaged") from error
    if done.returncode not in range(128):
        raise ModelError(f"{what} crashed its reader (exit code {done.returncode}): it is damaged")
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return Said(done.stdout, done.returncode, lines[-1] if lines else "")


def is_confined() -> bool:
    """Return whether this process was started by `run`."""
    return _MIB in os.environ


def mark() -> str:
    """Return a name of this process that no other one has but those that it confines."""
    return os.environ.get(_MARK) or f"{os.getpid()}-{_START}"


def confine() -> None:
    """Take the limits that this process was started with; Linux only, elsewhere the deadline alone holds."""
    if sys.platform == "linux" and is_confined():
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (int(os.environ[_MIB]) * 2**20,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def blamed_on(what: str, kind: type[CareLiveError] = ModelError) -> Iterator[None]:
    """Turn an exception of a library that reads a file into a ModelError on one line; errors of care_live pass.

    Parameters
    ----------
    what : the file, and what it should be
    """
    try:
        yield
    except CareLiveError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise kind(f"{what}: {type(error).__name__} {said}".rstrip()) from error


def raise_again(said: Said, prefix: str = "") -> None:
    """Raise the error of a confined process as if it had happened here."""
    if said.exit_code:
        kind = ConfigError if said.exit_code == ConfigError.exit_code else ModelError
        raise kind(said.complaint.removeprefix(prefix) or f"its reader ended with exit code {said.exit_code}")
