"""A process that drives a microscope for the daemon: started, told its job and orders, and its last words read."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import IO, Any

import msgspec

_ERROR = "ERROR "


def last_words(printed: str) -> str:
    """Return the last error that was logged, else the last line.

    What the engine's threads print while they are ended may come after the error.
    """
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    return (errors or lines or ["it said nothing"])[-1]


def start_engine(
    job: dict[str, Any], log: IO[bytes], *, module: str = "care_live.source.engine_run"
) -> subprocess.Popen[bytes]:
    """Start the engine's process, out of reach of the terminal's Ctrl-C; its job comes by stdin."""
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        **own_group,
    )
    assert process.stdin is not None
    tell(process.stdin, msgspec.json.encode(job))
    return process


def tell(stdin: IO[bytes], line: bytes) -> None:
    """Write a line to a process; if it died, the error has the last lines that it printed."""
    with contextlib.suppress(OSError):
        stdin.write(line + b"\n")
        stdin.flush()
