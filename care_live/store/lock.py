"""One writer a run: a lock that the operating system lets go of when its holder dies."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from care_live.errors import StoreError
from care_live.store.durable import translated

LOCK_NAME = "writer.lock"
_LOCKED_BYTE = 4096
"""Behind the text, so that on Windows, too, others can read who holds it."""
_TRIES = 4
_PAUSE_S = 0.05


class RunLock:
    """Held from `__init__` to `close`.

    The file stays when its holder is killed; the lock does not, so there is no stale one to take over.

    Raises
    ------
    StoreError
        Another process, or another writer in this one, holds it; says which.
    """

    def __init__(self, run: Path) -> None:
        path = run / LOCK_NAME
        with translated(f"cannot lock run {run}", run):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _patiently_lock(self._descriptor):
            os.close(self._descriptor)
            holder = path.read_text(errors="replace").strip() or "another process"
            raise StoreError(f"run {run} is being written by {holder}; stop that one, or use another run_id")
        os.write(self._descriptor, f"process {os.getpid():<12}\n".encode())

    def close(self) -> None:
        os.close(self._descriptor)


def is_locked(run: Path) -> bool:
    """Tell whether a writer is at work on this run."""
    try:
        descriptor = os.open(run / LOCK_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def _patiently_lock(descriptor: int) -> bool:
    """Try again for a moment: somebody may only be asking whether the run is locked."""
    for _ in range(_TRIES):
        if _lock(descriptor):
            return True
        time.sleep(_PAUSE_S)
    return False


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
