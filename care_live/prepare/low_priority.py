"""This process gives way to all others: training beside an acquisition must not delay it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

NICENESS = 19
_IDLE = 0x40
"""Windows' IDLE_PRIORITY_CLASS."""
_THREADS = Path("/proc/self/task")


def give_way() -> None:
    """Lower the priority of this process, and of those that it starts from now on; there is no way back.

    On Linux its threads run on what others leave (SCHED_IDLE): any other thread that wakes takes the core at once,
    where one of a low priority may keep it for some milliseconds, at each plane.

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
        if not kernel.SetPriorityClass(kernel.GetCurrentProcess(), _IDLE):
            raise ctypes.WinError(ctypes.get_last_error())
    else:
        os.nice(max(0, NICENESS - os.nice(0)))
        if sys.platform == "linux":
            _run_on_what_is_left()


if sys.platform == "linux":

    def _run_on_what_is_left() -> None:
        """Give every thread that there is by now the priority of idle work; those of libraries are there already."""
        for thread in sorted(_THREADS.iterdir()):
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.setpriority(os.PRIO_PROCESS, int(thread.name), NICENESS)
                os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))
