"""What a long run takes, and whether it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

GROWTH = {"daemon_mib": 1.1, "inference_mib": 1.1, "watcher_mib": 1.1, "files": 1.0, "threads": 1.0}
"""What a late sample may be of an early one."""
COLUMNS = "volumes   daemon MiB   inference MiB   watcher MiB   files   threads"
_FEW = 8
"""Files and threads of links that are made anew after a trouble."""


@dataclass(frozen=True)
class Sample:
    """One look at the daemon, its inference process and a watcher."""

    volumes: int
    daemon_mib: float
    inference_mib: float
    watcher_mib: float
    files: int
    """Of all three, as are the threads; on Windows handles."""
    threads: int

    def __str__(self) -> str:
        return (
            f"{self.volumes:7d}   {self.daemon_mib:10.1f}   {self.inference_mib:13.1f}   {self.watcher_mib:11.1f}   "
            f"{self.files:5d}   {self.threads:7d}"
        )


def look_at(volumes: int, daemon: psutil.Process, watcher: psutil.Process) -> Sample | None:
    """Sample all three; None while one of them is away."""
    try:
        inference = max(daemon.children(), key=lambda child: child.memory_info().rss)
        three = (daemon, inference, watcher)
        return Sample(
            volumes,
            *(process.memory_info().rss / 2**20 for process in three),
            sum(process.num_fds() if hasattr(process, "num_fds") else process.num_handles() for process in three),
            sum(process.num_threads() for process in three),
        )
    except (psutil.Error, ValueError):
        return None


def growth(samples: Sequence[Sample]) -> str | None:
    """Return what grew between the second and the last quarter, or None; the first quarter is warm-up."""
    if len(samples) < 8:
        return f"only {len(samples)} samples; wanted at least 8"
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    for name, allowed in GROWTH.items():
        before = max(getattr(sample, name) for sample in early)
        after = max(getattr(sample, name) for sample in late)
        if after > before * allowed + (_FEW if allowed == 1.0 else 0):
            return f"{name} grew from {before:g} to {after:g}"
    return None
