"""The stack on which a thread handles signals, kept as it is where a library leaves another one behind."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """``stack_t`` of sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("nbytes", ctypes.c_size_t))


@contextlib.contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Give the calling thread back the signal stack that it had.

    OpenVINO's CPU plugin (2026.4) gives the thread that compiles a network a signal stack of its own. When the network
    is closed, it puts back the one that it found. Found was that of the network before; closed first, it left a stack
    whose memory was gone, and the next Ctrl-C ended the process by a segmentation fault.
    """
    before = _Stack()
    is_known = sys.platform == "linux" and ctypes.CDLL(None).sigaltstack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if is_known:
            ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
