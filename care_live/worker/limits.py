"""How much of the machine inference may take: when memory runs out, restoration must fail, never recording.

Three limits, each for what the one before lets through: the memory that the process can take, the memory that it leaves
the machine, and the order in which the system ends processes.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil

_SHARE = 0.9
"""Of the memory that is available when inference starts. Tiles are planned for 0.6 of it."""
_LEFT_SHARE = 0.02
"""Of the machine's memory: recording needs no more than that to go on."""
_LARGE_SHARE = 0.25
"""Of the machine's memory: a process below that is not the one that has taken the rest."""
_FIRST_TO_END = 800
"""Of 1000; the daemon, its writers and the camera have 0."""


def confine(share: float = _SHARE) -> None:
    """Let this process take no more than a share of what is available now; beyond, its libraries get an error.

    Linux only. What it counts are writable private pages: shared volumes are not among them, nor what a graphics
    driver reserves without using it.
    """
    if sys.platform == "linux":
        import resource

        taken_bytes = psutil.Process().memory_full_info().data
        most_bytes = taken_bytes + int(share * psutil.virtual_memory().available)
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min(most_bytes, *known) if known else most_bytes, hard))


def end_first() -> None:
    """Let the system end this process before others, where it has to end one."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_END), encoding="ascii")


def starves(taken_bytes: int, available_bytes: int, total_bytes: int) -> bool:
    """Return whether a process has taken so much that the machine has hardly any memory left for others."""
    return available_bytes < _LEFT_SHARE * total_bytes and taken_bytes > _LARGE_SHARE * total_bytes


def cause(exit_code: int | None, *, entered: bool = True) -> str:
    """Return in words how a process ended that said nothing.

    Parameters
    ----------
    exit_code : as Python counts it, negative for a signal
    entered : it had loaded its libraries
    """
    n_mib = psutil.virtual_memory().available // 2**20
    if not entered:
        why = f"before its libraries were loaded, as they end it when memory runs out; {n_mib} MiB are available"
    elif exit_code == -9:
        why = f"ended by force, as the system does when memory runs out; {n_mib} MiB are available"
    elif exit_code in {-4, -6, -7, -8, -11}:
        why = f"a library crashed, as some do when memory runs out; {n_mib} MiB are available"
    elif exit_code == 1:
        why = f"an error that it could not report, as when memory runs out; {n_mib} MiB are available"
    else:
        return f"exit code {exit_code}"
    return f"exit code {exit_code}: {why}"
