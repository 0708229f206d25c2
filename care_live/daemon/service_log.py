"""The log of a service where the system keeps none: a file of a bounded size, and the three before it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

LOG_BYTES = 10_000_000
N_KEPT = 3
_LINE_BYTES = 65536
_LAST_S = 20.0
"""How long a process that the daemon left behind may keep the log open."""


@contextlib.contextmanager
def kept_log(pipe: IO[bytes], path: Path, *, log_bytes: int = LOG_BYTES) -> Iterator[None]:
    """Write what comes out of a pipe to a log, until its end, which the block waits for.

    Parameters
    ----------
    log_bytes : from this size on the file is put aside as ``NAME.log.1``, that one as ``.2``, and so on to ``.3``
    """
    log = RotatingFileHandler(
        path, maxBytes=log_bytes, backupCount=N_KEPT, encoding="utf-8", errors="replace", delay=True
    )  # opened by the first line: a folder that takes no log ends no daemon
    # a process that outlives the daemon may keep the pipe open: the service ends all the same
    thread = threading.Thread(target=_write, args=(pipe, log), name=f"log {path.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(_LAST_S)


def _write(pipe: IO[bytes], log: RotatingFileHandler) -> None:
    """Write each line; a disk that refuses one costs that line."""
    with pipe, contextlib.closing(log):
        while line := pipe.readline(_LINE_BYTES):
            log.handle(logging.makeLogRecord({"msg": line.decode("utf-8", "replace").rstrip("\r\n")}))
