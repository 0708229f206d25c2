"""This process gives way to all others: training beside an acquisition must not delay it."""

from __future__ import annotations

import os
import sys

NICENESS = 15
_BELOW_NORMAL = 0x4000
"""Windows' BELOW_NORMAL_PRIORITY_CLASS."""


def give_way() -> None:
    """Lower the priority of this process, and of those that it starts from now on; there is no way back.

    Raises
    ------
    OSError
        The system refuses it.
    """
    if sys.platform == "win32":
        import ctypes
        from ctypes import wintypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        kernel.SetPriorityClass.argtypes = (wintypes.HANDLE, wintypes.DWORD)  # else half of the handle is lost
        if not kernel.SetPriorityClass(kernel.GetCurrentProcess(), _BELOW_NORMAL):
            raise ctypes.WinError(ctypes.get_last_error())
    else:
        os.nice(max(0, NICENESS - os.nice(0)))
