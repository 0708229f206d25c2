"""The daemon with one worker and with two: volumes a second, their age, and their order in the journal."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import psutil
import tifffile

from benches._daemon import free_port
from benches._pairs import counts, say
from benches._spent import cpu_s
from care_live.config import Config, parse
from care_live.daemon.run import Daemon
from care_live.daemon.run_metrics import DaemonStatus
from tests.make.networks import save_network

SHAPE = (16, 160, 160)
RATE = 0.6
"""Of what one worker restores: at this rate volumes come when their age is measured."""


@dataclass(frozen=True)
class Ran:
    """One run of the daemon, from its first event to its end."""

    status: DaemonStatus
    wall_s: float
    inference_s: float
    """CPU seconds of all inference processes."""
    daemon_s: float
    """CPU seconds of the daemon's own."""

    @property
    def spent(self) -> str:
        return f"CPU {self.inference_s:.2f} s, daemon {self.daemon_s:.2f} s"


def compared(folder: Path, *, rounds: int, n_volumes: int) -> dict[str, float]:
    """Return volumes a second, CPU time and age with two workers beside those with one, in turns.

    The daemon itself takes part of a core (30 to 50 ms a volume): with the shipped network, the smallest, it shows on
    two cores; a network of 16 filters takes half a second of a core for a volume. *of the cores* is how much
    the daemon and its workers used of the cores that they could: near 1, the machine is the limit, and nothing waits.
    """
    volumes = np.stack([counts(SHAPE, seed=t) for t in range(n_volumes)])
    tifffile.imwrite(folder / "live.tif", volumes)
    tifffile.imwrite(folder / "live_wide.tif", volumes)
    save_network(folder / "wide.onnx", depth=2, filters=16)
    shipped, shipped_wall_s = _fast(folder, rounds, n_volumes, {}, suffix="")
    wide, _ = _fast(folder, rounds, n_volumes, {"model": str(folder / "wide.onnx")}, suffix="_wide")
    return shipped | wide | _ages(folder, rounds, RATE * SHAPE[0] * n_volumes / shipped_wall_s)


def _fast(
    folder: Path, rounds: int, n_volumes: int, network: dict[str, object], *, suffix: str
) -> tuple[dict[str, float], float]:
    """Return volumes a second as fast as they go, and the median of one worker's wall times."""
    wall: dict[int, list[float]] = {1: [], 2: []}
    cpu: dict[int, list[float]] = {1: [], 2: []}
    busy: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for workers in (1, 2):
            restore: dict[str, object] = {"policy": "wait"} | network
            run_id, movie = f"fast{suffix}-{workers}-{number}", f"live{suffix}.tif"
            ran = _run(folder, run_id, workers, restore, movie=movie)
            wall[workers].append(ran.wall_s)
            cpu[workers].append(ran.inference_s)
            cores = min(workers + 1, os.cpu_count() or 1)
            busy[workers].append((ran.inference_s + ran.daemon_s) / ran.wall_s / cores)
            say(f"{workers} workers{suffix}: {n_volumes / ran.wall_s:.2f} volumes/s, {ran.spent}")
    one, two = statistics.median(wall[1]), statistics.median(wall[2])
    figures = {
        f"daemon_volumes_per_s_1{suffix}": round(n_volumes / one, 3),
        f"daemon_volumes_per_s_2{suffix}": round(n_volumes / two, 3),
        f"daemon_two_over_one{suffix}": round(one / two, 3),
        f"daemon_two_over_one_by_cpu{suffix}": round(2 * statistics.median(cpu[1]) / statistics.median(cpu[2]), 3),
        f"daemon_two_of_the_cores{suffix}": round(statistics.median(busy[2]), 3),
    }
    return figures, one


def _ages(folder: Path, rounds: int, planes_per_s: float) -> dict[str, float]:
    """Return the age of volumes that come at a rate which one worker can follow."""
    age: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for workers in (1, 2):
            ran = _run(folder, f"paced-{workers}-{number}", workers, {"policy": "latest"}, speed=planes_per_s)
            age[workers].append(ran.status.age_ms_p95 or 0.0)
            say(f"{workers} workers: age p95 {age[workers][-1]:.0f} ms, {ran.status.skipped} skipped")
    return {f"daemon_age_p95_ms_{workers}": round(statistics.median(found), 1) for workers, found in age.items()}


def order(folder: Path, n_volumes: int) -> dict[str, float]:
    """Restore many small volumes with two workers; count those that the journal has after a later one."""
    tifffile.imwrite(folder / "small.tif", np.stack([counts((2, 16, 16), seed=t) for t in range(n_volumes)]))
    save_network(folder / "tiny.onnx", filters=2)
    restore: dict[str, object] = {"policy": "wait", "model": str(folder / "tiny.onnx")}
    ran = _run(folder, "small", 2, restore, movie="small.tif")
    lines = (folder / "runs" / "small" / "journal.jsonl").read_bytes().splitlines()
    records = [msgspec.json.decode(line)["record"] for line in lines]
    times = [record["key"][0] for record in records if record["kind"] == "restored"]
    return {
        "order_volumes": float(len(times)),
        "order_wrong": float(sum(later < before for before, later in itertools.pairwise(times))),
        "order_lost": float(n_volumes - len(set(times))),
        "order_volumes_per_s": round(n_volumes / ran.wall_s, 1),
        "order_least_of_a_worker": float(min(worker["restored"] for worker in ran.status.workers)),
    }


def _run(
    folder: Path,
    run_id: str,
    workers: int,
    restore: dict[str, object],
    *,
    speed: object = "fastest",
    movie: str = "live.tif",
) -> Ran:
    source = {"kind": "replay", "path": str(folder / movie), "axes": "TZYX", "speed": speed}
    daemon = Daemon(_config(folder, source, {"threads": 1, "provider": "cpu", "workers": workers} | restore), run_id)
    begun: list[float] = []
    before_s = _children_s()

    def began(_: object) -> None:
        starting_s = cpu_s([psutil.Process(number) for number in daemon.inference_process_ids])
        begun.extend((time.perf_counter(), starting_s, time.process_time()))

    status = daemon.run(on_start=began)
    return Ran(
        status,
        wall_s=time.perf_counter() - begun[0],
        inference_s=_children_s() - before_s - begun[1],
        daemon_s=time.process_time() - begun[2],
    )


def _config(folder: Path, source: dict[str, object], restore: dict[str, object]) -> Config:
    tree = {
        "source": source,
        "restore": restore,
        "store": {"directory": str(folder / "runs")},
        "publish": {"bind": f"tcp://127.0.0.1:{free_port()}", "bind_pull": f"tcp://127.0.0.1:{free_port()}"},
        "daemon": {"status_bind": f"127.0.0.1:{free_port()}"},
    }
    return parse(tree, origin="scale")


def _children_s() -> float:
    """Return the CPU time of all processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system
