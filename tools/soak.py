"""A long run: does anything grow? ``python tools/soak.py [--volumes 10000]``

Plays a small recorded time-lapse in a loop through the whole daemon (store, inference process, publisher, one
watcher) and samples memory, open files and threads of every process. Prints a table; exit code 1 when memory
grew by more than a tenth between the first and the last quarter, or files or threads grew at all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from environment import ensure, inference_extra

COLUMNS = "volumes   daemon MiB   inference MiB   files   threads"


@dataclass(frozen=True)
class Sample:
    """One look at the daemon and its inference process."""

    volumes: int
    daemon_mib: float
    inference_mib: float
    files: int
    threads: int

    def __str__(self) -> str:
        return (
            f"{self.volumes:7d}   {self.daemon_mib:10.1f}   {self.inference_mib:13.1f}   {self.files:5d}   "
            f"{self.threads:7d}"
        )


def soak(folder: Path, volumes: int, every: int) -> list[Sample]:
    """Run the daemon on so many volumes; return a sample for each *every* of them."""
    import numpy as np
    import tifffile

    from care_live.config import parse
    from care_live.daemon.run import Daemon
    from care_live.model.file import shipped

    pixels = np.random.default_rng(1).poisson(120, (10, 8, 64, 64)).astype(np.uint16)
    tifffile.imwrite(folder / "movie.tif", pixels)
    loopback = {"bind": "tcp://127.0.0.1:0", "bind_pull": "tcp://127.0.0.1:0", "replay_mib": 16}
    settings = {
        "source": {"kind": "replay", "path": folder / "movie.tif", "axes": "TZYX", "loops": -(-volumes // 10)},
        "restore": {"policy": "wait", "threads": 1, "model": shipped()},
        "store": {"directory": folder / "runs"},
        "publish": loopback,
        "daemon": {"status_bind": "127.0.0.1:0"},
    }
    daemon = Daemon(parse(settings, origin="soak"), "soak")
    samples: list[Sample] = []
    over = threading.Event()
    sampler = threading.Thread(target=lambda: samples.extend(_watch(daemon, every, over)))
    try:
        daemon.run(on_start=lambda _: sampler.start())
    finally:
        over.set()
        if sampler.ident is not None:
            sampler.join()
    return samples


def _watch(daemon, every: int, over: threading.Event) -> Iterator[Sample]:
    import psutil

    ours = psutil.Process()
    following = every
    while not over.wait(0.2):
        restored = daemon.status().restored
        if restored >= following and daemon.inference_process_id is not None:
            following += every
            inference = psutil.Process(daemon.inference_process_id)
            sample = Sample(
                restored,
                ours.memory_info().rss / 2**20,
                inference.memory_info().rss / 2**20,
                (ours.num_fds() if hasattr(ours, "num_fds") else ours.num_handles()),
                ours.num_threads() + inference.num_threads(),
            )
            print(sample, flush=True)
            yield sample


def verdict(samples: list[Sample]) -> str | None:
    """Say what grew, or None; the first quarter is warm-up."""
    if len(samples) < 8:
        return f"only {len(samples)} samples; wanted at least 8"
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    for name, allowed in (("daemon_mib", 1.1), ("inference_mib", 1.1), ("files", 1.0), ("threads", 1.0)):
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
