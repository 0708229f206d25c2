"""The folder of a worker on another machine: it goes with the worker, or with the next one where that was killed.

A worker holds a lock on its folder, which the operating system releases when it dies, however it does. A number of a
process would not tell that: containers that share a disk count their processes each for themselves.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path


@contextlib.contextmanager
def worker_folder() -> Iterator[Path]:
    """Give an empty folder for the life of this worker; those of workers that are dead are removed before.

    Raises
    ------
    OSError
        The system's temporary folder cannot be written.
    """
    remove_forsaken(Path(tempfile.gettempdir()))
    folder, release = _new_folder()
    try:
        yield folder
    finally:
        release()
        shutil.rmtree(folder, ignore_errors=True)


def prefix_here() -> str:
    """Return how the names of this machine's folders begin.

    A temporary folder may lie on a disk of several machines, and locks may count on each of them alone.
    """
    return f"care-live-on-{re.sub('[^0-9A-Za-z.-]', '_', platform.node())}-"


def remove_forsaken(temporary: Path) -> None:
    """Remove the folders of this user's workers on this machine that are dead; what can't be removed stays."""
    prefix = prefix_here()
    for folder in temporary.glob(f"{prefix}*"):
        if "-" not in folder.name.removeprefix(prefix):  # else of a machine whose name begins with that of this one
            with contextlib.suppress(OSError):
                _remove_if_forsaken(folder)


if sys.platform == "win32":
    import time

    _HELD = "in-use"
    _DAY_S = 86400.0

    def _new_folder() -> tuple[Path, Callable[[], None]]:
        """Return a folder, and what releases it."""
        folder = Path(tempfile.mkdtemp(prefix=prefix_here()))
        return folder, (folder / _HELD).open("wb").close

    def _remove_if_forsaken(folder: Path) -> None:
        """Raise an OSError where another process holds it: what is open can't be deleted."""
        try:
            (folder / _HELD).unlink()
        except FileNotFoundError:  # its worker is about to hold it, or was killed before
            if time.time() - folder.stat().st_mtime < _DAY_S:
                return
        shutil.rmtree(folder, ignore_errors=True)

else:
    import fcntl

    def _new_folder() -> tuple[Path, Callable[[], None]]:
        """Return a folder, and what releases it."""
        while True:
            folder = Path(tempfile.mkdtemp(prefix=prefix_here()))
            try:
                return folder, _locked(folder)
            except (BlockingIOError, FileNotFoundError):  # before it was locked, another worker took it for forsaken
                continue
            except OSError:  # a disk without locks: it stays where the worker is killed
                return folder, _nothing

    def _remove_if_forsaken(folder: Path) -> None:
        """Raise an OSError where another process holds it, or the disk has no locks."""
        if folder.lstat().st_uid == os.getuid():
            release = _locked(folder)
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                release()

    def _locked(folder: Path) -> Callable[[], None]:
        """Lock a folder that is there also afterwards; return what releases it."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder.lstat()
        except BaseException:
            os.close(descriptor)
            raise
        return partial(os.close, descriptor)

    def _nothing() -> None:
        """Release a folder that could not be locked."""
