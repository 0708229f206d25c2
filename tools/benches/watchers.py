"""Do watchers disturb? The same acquisition with nobody watching, and with a full house, in turn.

The house: 20 browsers (WebSockets to the gateway), 4 full subscribers (two of the newest, two of every volume), one
viewer four times too slow, one frozen for most of the run, one that comes late. A real daemon acquires from the
virtual microscope through pycromanager, restores, publishes and stores.

acquisition_p99_ratio: p99 of the time between two planes of a stack, with watchers over without. Each stored
volume has its longest such time; of n intervals the longest lies below x with probability F(x)^n, so the p99 is the
0.99^n quantile of the longest ones.
raw_lost: planned planes that no run has stored.
slow_viewer_age_ratio: p95 of the age (from the last plane) of what the slow viewer gets, over the time it takes
for one.
memory_volumes_per_viewer: how much more memory the daemon took at most, in volumes a viewer.
browser_latency_ms_p95: from a volume's publication to its picture in a browser's socket.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benches._audience import Seen
from benches._house import House, period_s, wait_for_first
from benches._pairs import say
from care_live.store import RunReader

N_VOXEL_BYTES = 2 + 4 + 4
"""raw, mean and scale."""


@dataclass(frozen=True)
class Outcome:
    """One run."""

    longest_gaps_ms: list[float]
    n_planes_planned: int
    n_planes_stored: int
    n_intervals: int
    n_restored: int
    peak_bytes: int
    cpu_s: float
    seen: dict[str, list[Seen]]


def measure(arguments: list[str]) -> dict[str, float]:
    asked = parse(arguments)
    quiet, watched = [], []
    with tempfile.TemporaryDirectory(prefix="watchers-", ignore_cleanup_errors=True) as folder:
        for pair in range(asked.pairs):
            quiet.append(run(Path(folder) / f"quiet-{pair}", asked, full_house=False))
            watched.append(run(Path(folder) / f"watched-{pair}", asked, full_house=True))
            alone_ms, watched_ms = interval_p99_ms(quiet[-1]), interval_p99_ms(watched[-1])
            say(f"pair {pair + 1}: p99 between planes {alone_ms:.1f} ms alone, {watched_ms:.1f} ms watched")
    return figures(quiet, watched, asked)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="watchers", description=__doc__)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--volumes", type=int, default=45, help="time points of each run")
    parser.add_argument("--planes", type=int, default=32)
    parser.add_argument("--field", type=int, default=128, help="pixels along y and x")
    parser.add_argument("--interval-s", type=float, default=1.6, help="between time points")
    parser.add_argument("--rate-hz", type=float, default=40.0, help="planes a second within a stack")
    parser.add_argument("--browsers", type=int, default=20)
    parser.add_argument("--model", type=Path, help="ONNX file; default: the shipped one")
    return parser.parse_args(arguments)


# -- one run ----------------------------------------------------------------------------------------------------


def run(folder: Path, asked: argparse.Namespace, *, full_house: bool) -> Outcome:
    folder.mkdir(parents=True)
    address = f"tcp://127.0.0.1:{free_port()}"
    config = folder / "run.toml"
    config.write_text(settings(folder, asked, address), encoding="utf-8")
    seen: dict[str, list[Seen]] = {}
    with contextlib.ExitStack() as closing:
        house = closing.enter_context(House.filled(folder, asked, address, seen)) if full_house else None
        daemon = closing.enter_context(started(folder, config))
        used = closing.enter_context(sampled(daemon))
        if house is not None:
            wait_for_first(address)
            house.begin(asked)
        if code := daemon.wait(timeout=900):
            raise RuntimeError(f"the daemon ended with {code}: {(folder / 'log').read_text()[-2000:]}")
    return outcome(RunReader(folder / "runs" / "bench"), used, seen)


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


def settings(folder: Path, asked: argparse.Namespace, address: str) -> str:
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
status_bind = "127.0.0.1:{free_port()}"
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


# -- figures ----------------------------------------------------------------------------------------------------


def outcome(reader: RunReader, used: dict[str, float], seen: dict[str, list[Seen]]) -> Outcome:
    volumes = [reader.read_raw(key) for key in reader.keys("raw")]
    return Outcome(
        longest_gaps_ms=[volume.integrity.worst_gap_ms for volume in volumes],
        n_planes_planned=reader.plan.n_planes,
        n_planes_stored=sum(len(volume.integrity.received) for volume in volumes),
        n_intervals=max(len(volume.integrity.received) for volume in volumes) - 1,
        n_restored=len(reader.keys("restored")),
        peak_bytes=int(used["peak_bytes"]),
        cpu_s=used["cpu_s"],
        seen=seen,
    )


def interval_p99_ms(one: Outcome) -> float:
    return float(np.quantile(one.longest_gaps_ms, 0.99**one.n_intervals))


def figures(quiet: list[Outcome], watched: list[Outcome], asked: argparse.Namespace) -> dict[str, float]:
    volume_bytes = asked.planes * asked.field**2 * N_VOXEL_BYTES
    n_viewers = asked.browsers + 8
    ratios = [interval_p99_ms(full) / interval_p99_ms(alone) for alone, full in zip(quiet, watched, strict=True)]
    grown = [full.peak_bytes - alone.peak_bytes for alone, full in zip(quiet, watched, strict=True)]
    cpu = [(full.cpu_s - alone.cpu_s) / max(1, full.n_restored) / 9 for alone, full in zip(quiet, watched, strict=True)]
    slow = [age for one in watched for seen in one.seen.get("slow", []) for age in ages_while_on(seen, asked.volumes)]
    latencies = [latency for one in watched for latency in browser_latencies_ms(one.seen)]
    every = [seen for one in watched for seen in one.seen.get("every", [])]
    return {
        "acquisition_p99_ratio": statistics.median(ratios),
        "raw_lost": float(sum(one.n_planes_planned - one.n_planes_stored for one in [*quiet, *watched])),
        "slow_viewer_age_ratio": percentile(slow, 95) / (4 * period_s(asked)),
        "memory_volumes_per_viewer": max(0.0, statistics.median(grown)) / volume_bytes / n_viewers,
        "browser_latency_ms_p95": percentile(latencies, 95),
        "browser_latency_ms_p50": percentile(latencies, 50),
        "cpu_ms_per_volume_per_subscriber": 1e3 * statistics.median(cpu),
        "mb_per_s": sum(seen.nbytes for one in watched for role in one.seen.values() for seen in role)
        / 1e6
        / (len(watched) * asked.volumes * period_s(asked)),
        "recorder_lost": float(sum(seen.n_lost for seen in every)),
        "late_joiner_s": percentile([first_s(seen) for one in watched for seen in one.seen.get("late", [])], 50),
        "pictures_per_browser": sum(len(s.times) for one in watched for s in one.seen.get("browsers", []))
        / (len(watched) * asked.browsers),
        "volumes": float(asked.volumes),
    }


def browser_latencies_ms(seen: dict[str, list[Seen]]) -> list[float]:
    """Compare when a picture came with when its volume was published, as the fastest subscriber was told."""
    published: dict[int, int] = {}
    for one in [*seen.get("newest", []), *seen.get("every", [])]:
        for t, at in zip(one.times, one.published_us, strict=True):
            published[t] = min(at, published.get(t, at))
    latencies: list[float] = []
    for one in seen.get("browsers", []):
        newest = [(at - published[t]) / 1e3 for t, at in zip(one.times, one.arrived_us, strict=True) if t in published]
        latencies += newest
    return latencies


def ages_while_on(seen: Seen, n_volumes: int) -> list[float]:
    """Leave out the last volume: when the run is over, what is newest grows old."""
    return [age_s for t, age_s in zip(seen.times, seen.ages_s, strict=True) if t < n_volumes - 1]


def first_s(seen: Seen) -> float:
    """Return how long after its connection the first picture came."""
    return seen.arrived_us[0] / 1e6 - seen.began_s if seen.arrived_us else float("inf")


def percentile(numbers: list[float], q: float) -> float:
    return float(np.percentile(numbers, q)) if numbers else float("nan")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
