"""Filling a disk that a test has mounted."""

from __future__ import annotations

import os
from pathlib import Path


def fill(disk: Path, *, leave_mib: float) -> Path:
    """Leave a number of MiB of a disk, whatever lies there already; return the file to remove for more space."""
    found, ballast = os.statvfs(disk), disk / "ballast"
    with ballast.open("ab") as file:
        file.write(bytes(max(0, int(found.f_bavail * found.f_frsize - leave_mib * 2**20))))
    return ballast
