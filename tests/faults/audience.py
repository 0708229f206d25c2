"""Watchers of a daemon under test, each a process that can be frozen, and what they saw."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Viewer:
    """A watcher process."""

    process: psutil.Popen
    out: Path

    def seen(self) -> list[dict[str, Any]]:
        """Return what it has written of each volume so far."""
        whole, _, _ = self.out.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def wait_for(self, n: int, *, within_s: float = 240.0) -> None:
        deadline = time.monotonic() + within_s
        while len(self.seen()) < n:
            assert time.monotonic() < deadline, f"{len(self.seen())} volumes came within {within_s:g} s"
            time.sleep(0.02)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def viewer(folder: Path, way: str, address: str, *, work_s: float = 0.0) -> Iterator[Viewer]:
    """Start a watcher; see `tests.faults.viewer`."""
    out = folder / f"{way}-{time.monotonic_ns()}.jsonl"
    command = [sys.executable, "-m", "tests.faults.viewer", way, address, str(work_s)]
    with out.open("w") as file:
        process = psutil.Popen(command, cwd=_ROOT, stdout=file, stdin=subprocess.DEVNULL)
        try:
            yield Viewer(process, out)
        finally:
            process.kill()
            process.wait(60)


@contextmanager
def viewers(folder: Path, ways: list[str], address: str) -> Iterator[list[Viewer]]:
    with ExitStack() as all_of_them:
        yield [all_of_them.enter_context(viewer(folder, way, address)) for way in ways]


@contextmanager
def page(address: str) -> Iterator[str]:
    """Serve the browser's page of a daemon; give its URL, token and all."""
    command = [sys.executable, "-m", "care_live", "web", "--connect", address, "--bind", "127.0.0.1:0"]
    served = subprocess.Popen(
        command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=dict(os.environ)
    )
    try:
        assert served.stdout is not None
        yield served.stdout.readline().strip()
    finally:
        served.kill()
        served.wait(60)
        served.stdout.close()
