"""A Dask cluster on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

WAIT_S = 240


class Cluster:
    """A scheduler and plain ``dask worker`` processes on this machine.

    Parameters
    ----------
    preload : a script that workers run first; they are then started again when they end
    protocol : *tls* takes its certificates from Dask's configuration, which the environment may be
    """

    def __init__(self, folder: Path, n_workers: int = 2, *, preload: Path | None = None, protocol: str = "tcp") -> None:
        self.file = folder / "scheduler.json"
        self._kept = ("--no-nanny",) if preload is None else ("--nanny", "--preload", preload)
        self._folder = folder
        self._options = ("--no-dashboard", "--protocol", protocol, "--scheduler-file", self.file)
        self.scheduler = self._start("scheduler", "--port", "0", *self._options)
        wait_for(self.file.exists)
        self.workers = [self.add_worker(n) for n in range(n_workers)]

    def add_worker(self, number: int, *, resources: str = "GPU=1") -> subprocess.Popen[bytes]:
        options = ("--nthreads", "2", "--no-dashboard", "--name", number, "--resources", resources)
        return self._start("worker", "--scheduler-file", self.file, *options, *self._kept)

    def restart_scheduler(self) -> None:
        """Kill the scheduler and its workers, which end without it, and start another scheduler at the same address."""
        port = urlsplit(json.loads(self.file.read_bytes())["address"]).port
        self.close()
        self.workers.clear()
        self.file.unlink()
        self.scheduler = self._start("scheduler", "--port", port, *self._options)
        wait_for(lambda: self.file.exists() or self.scheduler.poll() is not None)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait(WAIT_S)

    def _start(self, *arguments: object) -> subprocess.Popen[bytes]:
        log = (self._folder / f"{arguments[0]}.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, arguments)], cwd=self._folder, stdout=log, stderr=log
            )


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
