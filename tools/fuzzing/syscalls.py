"""Let one system call of a forked process fail, with ptrace: the real kernel interface, no library in between.

Linux on x86-64 only. Counted are calls that change or open what lies in one folder, in every thread.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_ON_DESCRIPTOR = {1: "write", 18: "pwrite64", 20: "writev", 73: "flock", 74: "fsync", 75: "fdatasync", 77: "ftruncate"}
_ON_FIRST_PATH = {2: "open", 82: "rename", 83: "mkdir", 87: "unlink", 137: "statfs"}
_ON_SECOND_PATH = {257: "openat", 258: "mkdirat", 263: "unlinkat", 264: "renameat", 316: "renameat2"}

_TRACEME, _PEEKUSER, _POKEUSER, _SYSCALL, _SETOPTIONS = 0, 3, 6, 24, 0x4200
_OPTIONS = 0x1 | 0x8 | 0x100000
"""TRACESYSGOOD, TRACECLONE, EXITKILL."""
_ALL_CHILDREN = 0x40000000
_RAX, _RSI, _RDI, _ORIG_RAX = 8 * 10, 8 * 13, 8 * 14, 8 * 15
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_PATH_BYTES = 4096

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


@dataclass(frozen=True, slots=True)
class Fault:
    """Which call fails, and how."""

    n: int
    """Counts the calls on the folder from 1; 0: none fails."""
    errno: int
    lasting: bool = False
    """Every later one that writes fails too, as on a disk that stays full."""


@dataclass
class _Trace:
    """What is known of the threads of a process that is being traced."""

    folder: bytes
    fault: Fault
    n_calls: int = 0
    inside: set[int] = field(default_factory=set)
    """Threads that are within a system call."""
    failing: set[int] = field(default_factory=set)

    def enter(self, thread: int) -> None:
        """Count a call that begins, and turn it into none when it is its turn to fail."""
        if not self._is_on_folder(thread):
            return
        self.n_calls += 1
        if self.n_calls == self.fault.n or (self.fault.lasting and 0 < self.fault.n < self.n_calls):
            _poke(thread, _ORIG_RAX, -1)
            self.failing.add(thread)

    def leave(self, thread: int) -> None:
        """Put the error where the result of a call belongs."""
        if thread in self.failing:
            self.failing.discard(thread)
            _poke(thread, _RAX, -self.fault.errno)

    def _is_on_folder(self, thread: int) -> bool:
        number = _peek(thread, _ORIG_RAX)
        if number in _ON_DESCRIPTOR:
            return _path_of(thread, _peek(thread, _RDI)).startswith(self.folder)
        if number in _ON_FIRST_PATH:
            return _text_at(thread, _peek(thread, _RDI)).startswith(self.folder)
        return number in _ON_SECOND_PATH and _text_at(thread, _peek(thread, _RSI)).startswith(self.folder)


def is_possible() -> bool:
    """Return whether this machine's calls can be made to fail."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def run(work: Callable[[], None], fault: Fault, folder: Path) -> int:
    """Do some work in a forked process of which one call on a folder fails.

    Parameters
    ----------
    work : its exceptions must stay within it; it has to leave results in files
    folder : an absolute path

    Returns
    -------
    How many calls on the folder there were.
    """
    process = os.fork()
    if process == 0:
        _libc.ptrace(_TRACEME, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()
        os._exit(0)
    os.waitpid(process, 0)
    _libc.ptrace(_SETOPTIONS, process, 0, _OPTIONS)
    trace = _Trace(os.fsencode(folder), fault)
    _go_on(process, 0)
    _follow(trace, process)
    return trace.n_calls


def _follow(trace: _Trace, process: int) -> None:
    """Handle every stop of every thread until the process is over."""
    while True:
        thread, status = os.waitpid(-1, _ALL_CHILDREN)
        if os.WIFSTOPPED(status):
            _go_on(thread, _signal_to_pass_on(trace, thread, status))
        elif thread == process:
            return


def _signal_to_pass_on(trace: _Trace, thread: int, status: int) -> int:
    stopped_by = os.WSTOPSIG(status)
    if stopped_by == _SYSCALL_STOP:
        if thread in trace.inside:
            trace.inside.discard(thread)
            trace.leave(thread)
        else:
            trace.inside.add(thread)
            trace.enter(thread)
        return 0
    is_event = status >> 16 != 0 or stopped_by == signal.SIGSTOP  # a thread began
    return 0 if is_event else stopped_by


def _go_on(thread: int, number: int) -> None:
    _libc.ptrace(_SYSCALL, thread, 0, number)


def _peek(thread: int, register: int) -> int:
    return int(_libc.ptrace(_PEEKUSER, thread, register, 0))


def _poke(thread: int, register: int, value: int) -> None:
    _libc.ptrace(_POKEUSER, thread, register, value)


def _path_of(thread: int, descriptor: int) -> bytes:
    try:
        return os.fsencode(Path(f"/proc/{thread}/fd/{descriptor}").readlink())
    except OSError:
        return b""


def _text_at(thread: int, address: int) -> bytes:
    """Return the text that ends with a zero in the memory of a stopped thread."""
    try:
        with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(_PATH_BYTES).partition(b"\0")[0]
    except (OSError, ValueError, OverflowError):
        return b""
