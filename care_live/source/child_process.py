"""A process that drives a microscope for the daemon: how it is started, gets its job and ends; its last words."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Any, NoReturn, TypeVar

import msgspec

from care_live.errors import CareLiveError, ConfigError

logger = logging.getLogger(__name__)

J = TypeVar("J", bound=msgspec.Struct)

_ERROR = "ERROR "
_LAST_WORDS_BYTES = 8192


def last_words(printed: str) -> str:
    """Return the last error that was logged, else the last line.

    What the engine's threads print while they are ended may come after the error.
    """
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    return (errors or lines or ["it said nothing"])[-1]


def last_words_in(log: IO[bytes]) -> str:
    """Return the same of a file to which a process prints."""
    log.seek(max(0, log.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
    return last_words(log.read().decode(errors="replace"))


def start_engine(
    job: dict[str, Any], log: IO[bytes], *, module: str = "care_live.source.engine_run", answers: bool = False
) -> subprocess.Popen[bytes]:
    """Start the engine's process, out of reach of the terminal's Ctrl-C; its job comes by stdin.

    Parameters
    ----------
    log : where it prints
    answers : whether its stdout is a pipe for answers, see `answers_on_stdout`
    """
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if answers else log,
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


def answers_on_stdout() -> IO[bytes]:
    """Return the pipe to the daemon in this process; what a library prints to stdout goes to the log instead."""
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return pipe


def run_job(kind: type[J], run: Callable[[J], object]) -> NoReturn:
    """Run the job on stdin; leave by os._exit, because a hanging driver must not keep the process.

    The exit code is that of the error, 2 where stdin holds no job.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):  # services get them with the daemon, which orders the end itself
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    code = 0
    try:
        run(_job(kind))
    except CareLiveError as error:
        logger.error("%s", error)
        code = error.exit_code
    except Exception as error:
        logger.exception("the microscope's process failed: %s: %s", type(error).__name__, error)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _job(kind: type[J]) -> J:
    try:
        return msgspec.json.decode(sys.stdin.buffer.readline(), type=kind)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"stdin holds no job: {error}") from error
