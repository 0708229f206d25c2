"""One acquisition of the watchers bench: a real daemon, what it uses, and its end."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from benches._house import period_s
from benches._pairs import say

TELL_EVERY_S = 15.0


@contextmanager
def started(folder: Path, config: Path) -> Iterator[psutil.Popen]:
    with (folder / "log").open("w") as log:
        daemon = psutil.Popen([sys.executable, "-m", "care_live", "run", str(config)], stdout=log, stderr=log)
        try:
            yield daemon
        finally:
            if daemon.is_running():
                daemon.kill()
            daemon.wait(10)


def settings(folder: Path, asked: argparse.Namespace, address: str, status: int) -> str:
    model = f'model = "{asked.model.resolve().as_posix()}"\n' if asked.model else ""
    return f"""
run_id = "bench"
[source]
kind = "virtual"
shape_px = [{asked.field}, {asked.field}]
plane_rate_hz = {asked.rate_hz}
[source.acquisition]
time_points = {asked.volumes}
interval_s = {asked.interval_s}
z_planes = {asked.planes}
[restore]
threads = 1
{model}[store]
directory = "{(folder / "runs").as_posix()}"
[publish]
bind = "tcp://127.0.0.1:{free_port()}"
bind_pull = "{address}"
replay_mib = 32
[daemon]
status_bind = "127.0.0.1:{status}"
"""


@contextmanager
def sampled(process: psutil.Popen) -> Iterator[dict[str, float]]:
    """Note the memory and CPU time of one process (and not of its children) until the end of the block."""
    used, over = {"peak_bytes": 0.0, "cpu_s": 0.0}, threading.Event()

    def sample() -> None:
        while not over.wait(0.1):
            try:
                times = process.cpu_times()
                used["peak_bytes"] = max(used["peak_bytes"], process.memory_info().rss)
                used["cpu_s"] = times.user + times.system
            except psutil.Error:
                return

    thread = threading.Thread(target=sample, name="sampler")
    thread.start()
    try:
        yield used
    finally:
        over.set()
        thread.join()


def wait_for_end(daemon: psutil.Popen, status: int, asked: argparse.Namespace, name: str) -> None:
    """Wait until all volumes are recorded, then let the daemon drain: restoring late ones is not measured here.

    Raises
    ------
    RuntimeError
        It ended in error, or not in time.
    """
    planned_s = asked.volumes * period_s(asked)
    deadline, said_s = time.monotonic() + 1.5 * planned_s + 60, time.monotonic()
    while daemon.poll() is None and (stored := stored_raw(status)) < asked.volumes:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{stored} of {asked.volumes} volumes within {1.5 * planned_s + 60:.0f} s")
        if time.monotonic() - said_s > TELL_EVERY_S:
            said_s = time.monotonic()
            say(f"{name}: {stored} of {asked.volumes} volumes")
        time.sleep(0.5)
    if daemon.poll() is None:
        daemon.send_signal(signal.SIGINT)
    if code := daemon.wait(timeout=60):
        raise RuntimeError(f"the daemon ended with {code}; its log says why")


def stored_raw(status: int) -> int:
    """Return how many raw volumes the daemon has stored; 0 while it does not answer."""
    try:
        return int(httpx.get(f"http://127.0.0.1:{status}/status", timeout=5).json()["stored_raw"])
    except (httpx.HTTPError, ValueError, KeyError):
        return 0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
