"""A daemon on a disturbed machine: ``python -m tests.faults.disturbed KIND:NUMBER[:NUMBER] run config.toml …``

=====================  ================================================================================
``slow-disk:S``        every sync of a file or folder takes S seconds longer
``clock:JUMP:AFTER``   the wall clock jumps by JUMP seconds, AFTER seconds from the start, and back after as many more
=====================  ================================================================================
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable


def slow_disk(extra_s: float) -> None:
    sync = os.fsync

    def slowly(descriptor: int) -> None:
        time.sleep(extra_s)
        sync(descriptor)

    os.fsync = slowly


def clock(jump_s: float, after_s: float) -> None:
    """Set the clock as a person or a time server does; the monotonic one goes on."""
    began_s, now_ns = time.monotonic(), time.time_ns

    def set_clock_ns() -> int:
        jumped = after_s <= time.monotonic() - began_s < 2 * after_s
        return now_ns() + (int(jump_s * 1e9) if jumped else 0)

    time.time_ns = set_clock_ns
    time.time = lambda: set_clock_ns() / 1e9


KINDS: dict[str, Callable[..., None]] = {"slow-disk": slow_disk, "clock": clock}


def main() -> None:
    kind, *numbers = sys.argv.pop(1).split(":")
    KINDS[kind](*map(float, numbers))
    from care_live.cli import main as care_live

    care_live()


if __name__ == "__main__":
    main()
