"""Locks of files that the operating system releases when their holder dies.

A writer holds two: ``writer.lock``, with its name, and the journal itself. To delete the first one admits no second
writer, because that one finds the journal locked.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from care_live.errors import StoreError
from care_live.store.fsync import translated

LOCK_NAME = "writer.lock"
_LOCKED_BYTE = 2**31 - 2
"""Windows locks bytes against readers, too: one behind all text, and as far as Windows' C library can count."""
_TRIES = 4
_PAUSE_S = 0.05


class RunLock:
    """Held from `__init__` to `close`.

    The file stays when its holder is killed; the lock does not, so there is no stale one to take over.

    Raises
    ------
    StoreError
        Another process, or another writer in this one, holds it; the message names it. Or the file can't be written.
    """

    def __init__(self, run: Path) -> None:
        path = run / LOCK_NAME
        with translated(f"cannot lock run {run}", run):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                if not take(self._descriptor):
                    raise StoreError(f"run {run} is being written by {_holder(path)}; {WHAT_TO_DO}")
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                os.write(self._descriptor, f"process {os.getpid():<12}\n".encode())
            except BaseException:
                os.close(self._descriptor)
                raise

    def close(self) -> None:
        os.close(self._descriptor)


WHAT_TO_DO = "stop that one, or use another name (run_id)"


def _holder(path: Path) -> str:
    return path.read_text(errors="replace").strip()[:40] or "another process"


def take(descriptor: int) -> bool:
    """Lock an open file; False when another one holds it.

    It is tried again for a moment, because another process may only test whether the file is locked.
    """
    for _ in range(_TRIES):
        if _lock(descriptor, exclusive=True):
            return True
        time.sleep(_PAUSE_S)
    return False


def is_taken(path: Path) -> bool:
    """Return whether a file is locked; one that does not exist is not.

    Raises
    ------
    StoreError
        It can't be opened.
    """
    with translated(f"cannot find out whether {path} is locked", path.parent):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not _lock(descriptor, exclusive=False)
        finally:
            os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, exclusive: bool) -> bool:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int, *, exclusive: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
