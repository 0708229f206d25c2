"""The folder of a worker on another machine: it goes with the worker, or with the next one where that was killed.

A worker holds a lock on its folder, which the operating system releases when it dies, however it does. A number of a
process would not tell that: containers that share a disk count their processes each for themselves.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

PREFIX = "care-live-worker-"


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


def remove_forsaken(temporary: Path) -> None:
    """Remove the folders of this user's workers that are dead; what can't be removed stays."""
    for folder in temporary.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if _is_forsaken(folder):
                shutil.rmtree(folder, ignore_errors=True)


if sys.platform == "win32":
    _HELD = "in-use"

    def _new_folder() -> tuple[Path, Callable[[], None]]:
        """Return a folder, and what releases it."""
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        return folder, (folder / _HELD).open("wb").close

    def _is_forsaken(folder: Path) -> bool:
        """Raise an OSError where another process holds it: what is open can't be deleted."""
        (folder / _HELD).unlink()
        return True

else:
    import fcntl

    _NEW = "care-live-new-"
    """Until it is locked: no other worker takes it for one that is forsaken."""

    def _new_folder() -> tuple[Path, Callable[[], None]]:
        """Return a folder, and what releases it."""
        new = Path(tempfile.mkdtemp(prefix=_NEW))
        release: Callable[[], None] = _nothing
        with contextlib.suppress(OSError):  # a disk without locks: then it stays where the worker is killed
            release = _locked(new)
        return new.rename(new.with_name(PREFIX + new.name.removeprefix(_NEW))), release

    def _is_forsaken(folder: Path) -> bool:
        """Raise an OSError where another process holds it, or the disk has no locks."""
        if folder.lstat().st_uid != os.getuid():
            return False
        _locked(folder)()
        return True

    def _locked(folder: Path) -> Callable[[], None]:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
        return partial(os.close, descriptor)

    def _nothing() -> None:
        """Release a folder that could not be locked."""
