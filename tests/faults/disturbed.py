"""A daemon on a disturbed machine: ``python -m tests.faults.disturbed KIND:SECONDS run config.toml …``

================  =====================================================================================
``slow-disk:S``   every sync of a file or folder takes S seconds longer
``clock:S``       the wall clock is ahead by S seconds while there is a file ``jump`` in the current folder
================  =====================================================================================
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path


def slow_disk(extra_s: float) -> None:
    sync = os.fsync

    def slowly(descriptor: int) -> None:
        time.sleep(extra_s)
        sync(descriptor)

    os.fsync = slowly


def clock(ahead_s: float) -> None:
    """Set the clock as a person or a time server does; the monotonic one goes on."""
    now_ns, jump = time.time_ns, Path("jump").absolute()

    def set_clock_ns() -> int:
        return now_ns() + (int(ahead_s * 1e9) if jump.exists() else 0)

    time.time_ns = set_clock_ns
    time.time = lambda: set_clock_ns() / 1e9


KINDS: dict[str, Callable[[float], None]] = {"slow-disk": slow_disk, "clock": clock}


def main() -> None:
    kind, _, seconds = sys.argv.pop(1).partition(":")
    KINDS[kind](float(seconds))
    from care_live.cli import main as care_live

    care_live()


if __name__ == "__main__":
    main()
