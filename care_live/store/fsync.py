"""Calls of the operating system after which written data survive a crash, on Linux, Windows and macOS."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO, TypeVar

from care_live.errors import StoreError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

PARTIAL_SUFFIX = ".partial"
"""Ours and zarr's: a file that a crash left half-written."""

_RETRY_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Longer than readers and virus scanners on Windows usually hold a file."""

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What fsync of a folder answers on a file system that lacks it: some network disks, and some of FUSE."""
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Syncs:
    """Counts the syncs that came back, of the whole process: while the number grows, a slow disk does not hang."""

    n_done = 0


def sync(descriptor: int) -> None:
    """Return once what was written to an open file is on the disk."""
    os.fsync(descriptor)
    Syncs.n_done += 1


def sync_file(path: Path) -> None:
    """Return once the file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDWR)  # Windows syncs only what may be written
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Return once the folder's entries are on the disk; Windows does that by itself, and some file systems can't."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
        _say_no_folder_sync(os.fstat(descriptor).st_dev)
    finally:
        os.close(descriptor)


@cache
def _say_no_folder_sync(device: int) -> None:
    """Log it once for each disk."""
    logger.warning("disk syncs no folders device=%d: a power cut may take the names of the newest files there", device)


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are missing; when this returns their entries are on the disk."""
    if not path.is_dir():
        if path.parent != path:  # Windows: a drive that is not there has no parent, and can't be made
            make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def nearest_folder(path: Path) -> Path:
    """Return what exists of a path: itself, or the nearest of the folders above it.

    Raises
    ------
    StoreError
        Nothing of it does, as on a drive that is not there; or the system takes no such path, as one that is too long.
    """
    path = path.absolute()
    with translated(f"cannot look for {path}", path):
        found = next((one for one in (path, *path.parents) if one.exists()), None)
    if found is None:
        raise StoreError(f"{path.anchor} does not exist; connect that disk, or choose another store.directory")
    return found


def sync_up_to(path: Path, top: Path) -> None:
    """Sync a file and every folder from it up to `top`, any of which may be new."""
    sync_file(path)
    folder = path.parent
    while folder != top:
        sync_folder(folder)
        folder = folder.parent
    sync_folder(top)


def replace_file(path: Path, data: bytes) -> None:
    """Write a whole file so that a crash leaves the old one or the new one."""
    partial = path.with_name(f"{path.name}{PARTIAL_SUFFIX}")
    try:
        partial.write_bytes(data)
        sync_file(partial)
        with_retries(lambda: partial.replace(path))
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def in_one_step(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for writing which gets its name at the end: a crash leaves it whole, or as a ``.partial`` one.

    Folders above it are made where they are missing; nothing is synced. Where the block fails, what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(16)}{PARTIAL_SUFFIX}")
    try:
        with partial.open("wb", buffering=0) as file:
            yield file
        with_retries(lambda: partial.replace(path))
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def with_retries(action: Callable[[], Result]) -> Result:
    """Do it again a few times while another process holds a file, which only Windows minds."""
    for pause_s in _RETRY_S:
        try:
            return action()
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(pause_s)
    return action()


def free_bytes(path: Path) -> int:
    """Return how much may still be written to the disk on which `path` lies.

    Raises
    ------
    StoreError
        The folder is gone.
    """
    with translated(f"cannot find out how much is free on the disk of {path}", path):
        return shutil.disk_usage(path).free


@contextlib.contextmanager
def translated(what: str, path: Path) -> Iterator[None]:
    """Turn the operating system's errors into a StoreError of one line: what failed, why, what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {_reason(error, path)}") from error


def _reason(error: OSError, path: Path) -> str:
    if error.errno in _NO_SPACE:
        return f"no space left on the disk of {path} ({error.strerror}); free some, or choose another store.directory"
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return f"{path} cannot be written ({error.strerror}); choose another store.directory"
    if error.errno in _NO_LOCKS:
        return f"the disk of {path} cannot lock files ({error.strerror}); choose another store.directory"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"{error.filename or path} vanished ({error.strerror}); was the run's folder moved or its disk removed?"
    return f"{error.strerror or error} ({error.filename or path})"
