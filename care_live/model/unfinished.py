"""Networks that are being written, beside their place, and those that a killed process left there.

A lock would say which ones are still written, but on some network disks it would hold off the library that writes,
and on others no machine sees those of another. So the name says whose a file is.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import re
import time
import uuid
from functools import cache
from pathlib import Path

from care_live.model.confined import mark

logger = logging.getLogger(__name__)

_NAME = re.compile(r"\..+\.(?P<pid>\d+)-[0-9a-f]{8}-(?P<machine>[0-9a-f]{6})\.new\.onnx")
_OLD_S = 86400.0
"""A file of another machine is named when it was not written to for this long."""


def fresh_of(path: Path) -> Path:
    """Return where this process, or one that it confines, writes a network before that takes its place."""
    return path.with_name(f".{path.name}.{mark()}-{_machine()}.new.onnx")


def sweep(folder: Path) -> None:
    """Remove what processes of this machine left in a folder that ended while they wrote a network.

    Windows does not say cheaply whether a process lives: there it stays.
    """
    for left in sorted(folder.glob(".*.new.onnx")):
        name = _NAME.fullmatch(left.name)
        if name is None or os.name == "nt":
            continue
        with contextlib.suppress(OSError):  # it has just got its place, or may not be removed
            if name["machine"] != _machine():
                _name_if_old(left)
            elif not _is_alive(int(name["pid"])):
                left.unlink()
                logger.info("removed an unfinished network whose process has ended path=%s", left)


def _name_if_old(left: Path) -> None:
    if time.time() - left.stat().st_mtime > _OLD_S:
        logger.warning("unfinished network of another machine path=%s: delete it unless that still writes it", left)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # of another user; or no number of a process
        return True
    return True


@cache
def _machine() -> str:
    """Return a name of those processes that have numbers in common: of one machine, or of one container on it.

    Copied machines may have one host name, and share a disk: the address of the network card tells them apart.
    """
    numbers = ""
    with contextlib.suppress(OSError):
        numbers = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{platform.node()} {uuid.getnode()} {numbers}".encode()).hexdigest()[:6]
