"""A real daemon process on recorded pixels, and a look at it from outside: what every fault's test begins with."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from care_live.images import VolumeKey
from care_live.store import RunReader, verify
from tests.make.runs import movie, replay, settings
from tests.test_cli import toml

FULL = os.environ.get("CARE_LIVE_FAULTS") == "full"
"""Set by ``python tools/test.py faults``: every fault in its long form."""
N_KILLS = 50 if FULL else 2
PATIENCE = 1 if FULL and psutil.getloadavg()[0] < 0.5 * (os.cpu_count() or 1) else 20
"""Limits in seconds hold on a quiet machine, where the long form should run; elsewhere others share its processors."""
RUN = "fault"


@dataclass
class DaemonUnderTest:
    """A daemon process and the folder in which it writes."""

    process: psutil.Popen
    folder: Path
    tree: Mapping[str, Mapping[str, Any]]

    @property
    def address(self) -> str:
        """Where watchers connect to."""
        return str(self.tree["publish"]["bind_pull"])

    @property
    def run(self) -> Path:
        return self.folder / "runs" / RUN

    def status(self) -> dict[str, Any]:
        """Return its own figures; empty while it does not answer."""
        url = f"http://{self.tree['daemon']['status_bind']}/status"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return dict(json.loads(answer.read()))
        except (OSError, ValueError, http.client.HTTPException):  # it may end while it answers
            return {}

    def wait_until(self, holds: Callable[[dict[str, Any]], object], *, within_s: float = 240.0) -> dict[str, Any]:
        """Wait until its figures are as wanted; return them."""
        deadline = time.monotonic() + within_s
        while not holds(status := self.status() or {"phase": "unknown"}):
            assert self.process.poll() is None, f"the daemon ended first:\n{self.last_lines}"
            assert time.monotonic() < deadline, f"it never came: {status}\n{self.last_lines}"
            time.sleep(0.02)
        return status

    def figures(self) -> dict[str, Any]:
        """Return its own figures, once it gives them."""
        return self.wait_until(lambda status: "stored_raw" in status)

    def wait_for_volumes(self, n: int, **options: float) -> dict[str, Any]:
        """Wait until it has stored a number of raw volumes."""
        return self.wait_until(lambda status: status.get("stored_raw", 0) >= n, **options)

    def end(self, code: int | None = 0, *, within_s: float = 240.0) -> dict[str, Any]:
        """Wait for its end; return the last figures that it wrote."""
        ended_with = self.process.wait(within_s)
        assert code is None or ended_with == code, self.log
        written = self.folder / "status.json"
        return dict(json.loads(written.read_text())) if written.exists() else {}

    def drain(self) -> None:
        """Send the first Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    @property
    def last_lines(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.splitlines()[-12:])

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")


@contextmanager
def daemon(
    folder: Path,
    *,
    disturbed: bool = False,
    source: object = None,
    arguments: Sequence[str] = (),
    **sections: Mapping[str, object],
) -> Iterator[DaemonUnderTest]:
    """Start one; it is killed at the end of the block, where it still lives.

    Parameters
    ----------
    folder : holds ``movie.tif`` where no other source is given; a second daemon there goes on with the same run
    disturbed : files in its folder may slow its disk down or set its clock, see `tests.faults.disturbed`
    arguments : more of the command line
    sections : of its config, beside the default ones
    """
    tree = settings(folder, source or replay(folder / "movie.tif", speed=60.0), **sections)
    (folder / "config.toml").write_text(toml(tree))
    program = "tests.faults.disturbed" if disturbed else "care_live"
    command = [sys.executable, "-m", program, "run", "config.toml", "--run-id", RUN, "--json", "status.json"]
    command += arguments
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    with (folder / "log.txt").open("a") as log:
        process = psutil.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
        )
        try:
            yield DaemonUnderTest(process, folder, tree)
        finally:
            _kill([*_children(process), process])
            process.wait(60)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def rss_mib(process: psutil.Process) -> float:
    """Return how much memory a process has now; 0 once it is over."""
    try:
        return float(process.memory_info().rss) / 2**20
    except psutil.Error:
        return 0.0


def recorded(folder: Path, times: int, shape: tuple[int, int, int] = (8, 48, 56)) -> np.ndarray:
    """Write the movie that a daemon plays; (t, z, y, x)."""
    return movie(folder / "movie.tif", times=times, shape=shape)


def check_raw(run: Path, pixels: np.ndarray, *, wanted: int | None = None) -> list[VolumeKey]:
    """Compare every plane that a run has with what was recorded, played once or again and again; return its volumes.

    Parameters
    ----------
    wanted : how many there must be; none: any number, but at least one
    """
    reader = RunReader(run)
    keys = reader.keys("raw")
    for key in keys:
        volume = reader.read_raw(key)
        received = list(volume.integrity.received)
        np.testing.assert_array_equal(volume.pixels[received], pixels[key.t % len(pixels)][received])
    assert len(keys) == wanted if wanted is not None else keys
    return keys


def check_gapless(run: Path, pixels: np.ndarray) -> list[VolumeKey]:
    """Check that a run that was drained has every raw volume up to its last one, which may have been cut short."""
    keys = check_raw(run, pixels)
    assert keys == [VolumeKey(t) for t in range(len(keys))]
    assert not any(RunReader(run).read_raw(key).integrity.missing for key in keys[:-1])
    return keys


def check_whole(run: Path, pixels: np.ndarray) -> None:
    """Check that a run has every volume of the movie, raw and restored, and every checksum is right."""
    keys = check_raw(run, pixels, wanted=len(pixels))
    reader = RunReader(run)
    assert not any(reader.read_raw(key).integrity.missing for key in keys)
    assert reader.keys("restored") == keys
    assert verify(run).clean
