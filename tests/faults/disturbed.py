"""A daemon on a machine that can be disturbed: ``python -m tests.faults.disturbed run config.toml …``

Files in its current folder say how; they may come and go while it runs. ``slow-disk`` holds the seconds that every sync
of a file or folder takes longer, ``clock`` the seconds by which the wall clock is ahead.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

SLOW_DISK, CLOCK = "slow-disk", "clock"


def seconds(file: Path) -> float:
    """Return what a file says; 0 where there is none."""
    try:
        return float(file.read_text() or 0)
    except FileNotFoundError:
        return 0.0


def slow_disk(file: Path) -> None:
    sync = os.fsync

    def slowly(descriptor: int) -> None:
        time.sleep(seconds(file))
        sync(descriptor)

    os.fsync = slowly


def clock(file: Path) -> None:
    """Set the clock as a person or a time server does; the monotonic one goes on."""
    now_ns = time.time_ns

    def set_clock_ns() -> int:
        return now_ns() + int(seconds(file) * 1e9)

    time.time_ns = set_clock_ns
    time.time = lambda: set_clock_ns() / 1e9


def main() -> None:
    slow_disk(Path(SLOW_DISK).absolute())
    clock(Path(CLOCK).absolute())
    from care_live.cli import main as care_live

    care_live()


if __name__ == "__main__":
    main()
