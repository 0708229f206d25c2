"""How long care_live is away after something was killed or hangs: seconds, median and worst of some tries.

``hang_*``: the inference process stands still (SIGSTOP) within a volume of 32x256x256 on the shipped network, until
that is noticed, and until the process in its place has restored a small volume. ``kill_*``: the same with SIGKILL.
``resume_replay_*`` and ``resume_virtual_*``: the daemon is killed within a run and started again, until the journal
has one more volume; the virtual microscope's own start is ``engine_start_*``, a part of it. Mind ``load``: where others
use the machine too, everything takes longer; ``*_cpu_s``, the processor time of all processes until then, hardly does.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import tifffile

from benches._pairs import say
from care_live.config import AcquisitionConfig, RestoreConfig, VirtualConfig
from care_live.errors import RestoreError, StoreError
from care_live.images import RunStarted, Volume
from care_live.source import open_source
from care_live.store import RunReader
from care_live.worker.client import RestoreProcess
from tests.make import records

_LOOK_S = 0.02
SOURCES = {
    "replay": 'kind = "replay"\npath = "movie.tif"\naxes = "TZYX"\nspeed = 60.0\nloops = 0',
    "virtual": 'kind = "virtual"\n[source.acquisition]\ntime_points = 1000\nz_planes = 16',
}
CONFIG = """
[source]
{source}
[store]
directory = "runs"
[publish]
bind = "tcp://127.0.0.1:0"
bind_pull = "tcp://127.0.0.1:0"
[daemon]
status_bind = "127.0.0.1:0"
"""


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="recovery", description=__doc__)
    parser.add_argument("--tries", type=int, default=5)
    asked = parser.parse_args(arguments)
    figures: dict[str, float] = {"load": os.getloadavg()[0]}
    for name, number in (("hang", signal.SIGSTOP), ("kill", signal.SIGKILL)):
        noticed, restored = zip(*(lose_inference(number) for _ in range(asked.tries)), strict=True)
        figures |= summary(f"{name}_noticed", noticed) | summary(f"{name}_restored", restored)
    figures |= summary("engine_start", [start_engine() for _ in range(asked.tries)])
    for name, source in SOURCES.items():
        with tempfile.TemporaryDirectory() as folder:
            took_s, cpu_s = resume(Path(folder), source, asked.tries)
            figures |= summary(f"resume_{name}", took_s) | {f"resume_{name}_cpu_s": statistics.median(cpu_s)}
    return figures


def summary(name: str, seconds: tuple[float, ...] | list[float]) -> dict[str, float]:
    say(f"{name}: {' '.join(f'{one:.1f}' for one in seconds)} s")
    return {f"{name}_s": statistics.median(seconds), f"{name}_worst_s": max(seconds)}


def lose_inference(number: int) -> tuple[float, float]:
    """Send a signal to the inference process within a volume; return when it was noticed, and when repaired."""
    process = RestoreProcess(RestoreConfig())
    process.start()
    lost_s: list[float] = []

    def lose() -> None:
        assert process.supervisor.process_id is not None
        lost_s.append(time.monotonic())
        os.kill(process.supervisor.process_id, number)

    loser = threading.Timer(1.0, lose)
    try:
        loser.start()
        process.restore([volume((32, 256, 256))])
        raise SystemExit("the volume was restored before the process was lost: this machine is too fast")
    except RestoreError:
        noticed_s = time.monotonic()
        process.restore([volume((8, 64, 64))])
        return noticed_s - lost_s[0], time.monotonic() - lost_s[0]
    finally:
        loser.join()
        process.stop()


def volume(shape: tuple[int, int, int]) -> Volume:
    return records.volume(np.random.default_rng(1).poisson(120, shape).astype(np.uint16))


def start_engine() -> float:
    """Return how long the virtual microscope takes to begin its run."""
    begun = time.monotonic()
    source = open_source(VirtualConfig(acquisition=AcquisitionConfig(z_planes=16)), run_id="recovery")
    try:
        while not isinstance(source.next_event(0.1), RunStarted):
            if time.monotonic() - begun > 60:
                raise SystemExit("the virtual microscope does not start")
        return time.monotonic() - begun
    finally:
        source.close()


def resume(folder: Path, source: str, n_tries: int) -> tuple[list[float], list[float]]:
    """Kill a daemon again and again; return how long each next one took to store a volume, and its processor time."""
    tifffile.imwrite(folder / "movie.tif", np.random.default_rng(1).poisson(120, (8, 8, 64, 64)).astype(np.uint16))
    (folder / "config.toml").write_text(CONFIG.format(source=source), encoding="utf-8")
    command = [sys.executable, "-m", "care_live", "run", "config.toml", "-q", "--run-id", "r"]
    took_s, cpu_s = [], []
    for _ in range(n_tries + 1):
        before = n_stored(folder)
        begun = time.monotonic()
        daemon = subprocess.Popen(command, cwd=folder)
        try:
            while n_stored(folder) <= before:
                if daemon.poll() is not None or time.monotonic() - begun > 60:
                    raise SystemExit("the daemon stores nothing")
                time.sleep(_LOOK_S)
            took_s.append(time.monotonic() - begun)
            cpu_s.append(cpu_of(daemon.pid))
            time.sleep(1.0)
        finally:
            daemon.kill()
            daemon.wait(20)
    return took_s[1:], cpu_s[1:]  # the first one had nothing to resume


def cpu_of(pid: int) -> float:
    """Return the processor time of a process and its children so far."""
    daemon = psutil.Process(pid)
    times = [one.cpu_times() for one in (daemon, *daemon.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def n_stored(folder: Path) -> int:
    """Return how many raw volumes the journal acknowledges."""
    try:
        return len(RunReader(folder / "runs" / "r").keys("raw"))
    except StoreError:
        return 0
