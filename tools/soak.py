"""A long run: does anything grow? ``python tools/soak.py [--volumes 10000]``

Plays a small recorded time-lapse in a loop through the whole daemon (store, inference process, publisher), plane by
plane, with one watcher in a process of its own, and samples memory, open files and threads of each of the three.
Prints a table; exit code 1 when a process's memory grew by more than a tenth between the second and the last quarter,
or files or threads grew at all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from environment import ensure, inference_extra

GROWTH = {"daemon_mib": 1.1, "inference_mib": 1.1, "watcher_mib": 1.1, "files": 1.0, "threads": 1.0}
"""What a late sample may be of an early one."""
COLUMNS = "volumes   daemon MiB   inference MiB   watcher MiB   files   threads"


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


def soak(folder: Path, volumes: int, every: int) -> list[Sample]:
    """Run the daemon on a number of volumes; return a sample for each *every* of them."""
    import numpy as np
    import tifffile
    from benches._daemon import free_port

    from care_live.config import parse
    from care_live.daemon.run import Daemon

    pixels = np.random.default_rng(1).poisson(120, (10, 8, 64, 64)).astype(np.uint16)
    tifffile.imwrite(folder / "movie.tif", pixels)
    address = f"tcp://127.0.0.1:{free_port()}"
    daemon = Daemon(parse(settings(folder, -(-volumes // len(pixels)), address), origin="soak"), "soak")
    with watched(address) as watcher, sampled(daemon, watcher, every) as samples:
        daemon.run()
    print(f"streaming: {daemon.status().streaming}")
    return samples


def settings(folder: Path, loops: int, address: str) -> Mapping[str, object]:
    """Return the config: the shipped network on one thread, every volume restored while its planes come."""
    return {
        "source": {"kind": "replay", "path": folder / "movie.tif", "axes": "TZYX", "loops": loops},
        "restore": {"policy": "wait", "threads": 1, "streaming": "on", "normalise": {"lock_after_volumes": 1}},
        "store": {"directory": folder / "runs"},
        "publish": {"bind": "tcp://127.0.0.1:0", "bind_pull": address, "replay_mib": 16},
        "daemon": {"status_bind": "127.0.0.1:0"},
    }


@contextmanager
def watched(address: str) -> Iterator[int]:
    """Let a process of its own watch until the run ends; give its number."""
    watcher = multiprocessing.get_context("spawn").Process(target=watch, args=(address,), name="watcher")
    watcher.start()
    try:
        assert watcher.pid is not None
        yield watcher.pid
        watcher.join(30)
    finally:
        watcher.kill()
        watcher.join()


def watch(address: str) -> None:
    """Take the newest volumes, and planes of those that are still being recorded, until the run ends."""
    import care_live

    with care_live.subscribe(address, slabs=True) as subscriber:
        n_seen = sum(1 for _ in subscriber)
    print(f"the watcher saw {n_seen} volumes", flush=True)


@contextmanager
def sampled(daemon, watcher: int, every: int) -> Iterator[list[Sample]]:
    """Sample in a thread until the end of the block."""
    samples: list[Sample] = []
    over = threading.Event()
    sampler = threading.Thread(target=lambda: samples.extend(_samples(daemon, watcher, every, over)), name="sampler")
    sampler.start()
    try:
        yield samples
    finally:
        over.set()
        sampler.join()


def _samples(daemon, watcher: int, every: int, over: threading.Event) -> Iterator[Sample]:
    import psutil

    following = every
    while not over.wait(0.2):
        restored = daemon.status().restored
        if restored >= following and daemon.inference_process_id is not None:
            following += every
            three = [psutil.Process(pid) for pid in (None, daemon.inference_process_id, watcher)]
            sample = Sample(
                restored,
                *(process.memory_info().rss / 2**20 for process in three),
                sum(process.num_fds() if hasattr(process, "num_fds") else process.num_handles() for process in three),
                sum(process.num_threads() for process in three),
            )
            print(sample, flush=True)
            yield sample


def verdict(samples: list[Sample]) -> str | None:
    """Say what grew, or None; the first quarter is warm-up."""
    if len(samples) < 8:
        return f"only {len(samples)} samples; wanted at least 8"
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    for name, allowed in GROWTH.items():
        before = max(getattr(sample, name) for sample in early)
        after = max(getattr(sample, name) for sample in late)
        if after > before * allowed + (2 if allowed == 1.0 else 0):
            return f"{name} grew from {before:g} to {after:g}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volumes", type=int, default=10_000)
    arguments = parser.parse_args()
    print(COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        samples = soak(Path(folder), arguments.volumes, max(1, arguments.volumes // 40))
    grew = verdict(samples)
    print(f"BAD: {grew}" if grew else "nothing grew")
    return 1 if grew else 0


if __name__ == "__main__":
    ensure(inference_extra(), "mm", "view")
    sys.exit(main())
