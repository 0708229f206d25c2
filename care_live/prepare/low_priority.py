"""This process gives way to all others: training beside an acquisition must not delay it."""

from __future__ import annotations

import os
import sys

NICENESS = 15
_BELOW_NORMAL = 0x4000
"""Windows' BELOW_NORMAL_PRIORITY_CLASS."""


def give_way() -> None:
    """Lower the priority of this process, and of those that it starts from now on; there is no way back."""
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        kernel.SetPriorityClass(kernel.GetCurrentProcess(), _BELOW_NORMAL)
    else:
        os.nice(max(0, NICENESS - os.nice(0)))
