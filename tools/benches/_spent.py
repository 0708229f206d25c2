"""What one way of doing something takes, beside other programs on the machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil


@dataclass(slots=True)
class Spent:
    """What one way of restoring took, a number for each round."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    """Of this process, which plans, acknowledges and has the scheduler, and of the workers."""
    other_cores: list[float] = field(default_factory=list)
    """Which other programs took meanwhile."""


@contextlib.contextmanager
def spent_in(into: Spent, workers: list[int]) -> Iterator[None]:
    """Note what the block takes, in this process and in the workers."""
    processes = [psutil.Process(), *map(psutil.Process, workers)]
    began, before_s, all_s = time.perf_counter(), cpu_s(processes), _machine_s()
    yield
    wall_s = time.perf_counter() - began
    ours_s = cpu_s(processes) - before_s
    into.wall_s.append(wall_s)
    into.cpu_s.append(ours_s)
    into.other_cores.append(max(0.0, (_machine_s() - all_s - ours_s) / wall_s))


def cpu_s(processes: list[psutil.Process]) -> float:
    """Return the CPU time that processes have used so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _machine_s() -> float:
    """Return the CPU time that all programs of this machine have used."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))
