"""Many workers: what a second one brings, what Dask costs beside a plain loop, and whether 10^5 units leave anything.

Units are volumes that one core restores in about a second. The plain loop, one worker and two workers take turns, so
that other programs on the machine meet all three; how many cores those took is reported beside the wall time, and CPU
time beside both.

The daemon does the same: a replayed movie with one worker and with two, as fast as they go, and at a rate that one
can follow; then many small volumes with two, whose order in the journal is looked at.

    python tools/bench.py scale [--parts offline,empty,daemon,order] [--rounds 3] [--units 12] [--json F]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile

from benches import _workers
from benches._pairs import counts, say
from benches._spent import Spent, cpu_s, spent_in
from care_live.offline import OpenedNetwork, open_network, plan_archive, restore_archive
from care_live.offline.cluster import ClusterRestorer
from care_live.offline.dask_client import connect
from care_live.offline.handed_out import handed_out
from care_live.offline.run_output import LocalRestorer, Restorer
from tests.make.unordered import Unordered


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="scale", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--units", type=int, default=12, help="volumes of a round")
    parser.add_argument("--shape", type=int, nargs=3, default=(32, 288, 288), metavar=("Z", "Y", "X"))
    parser.add_argument("--empty", type=int, default=100_000, help="units without work")
    parser.add_argument("--small", type=int, default=10_000, help="small volumes whose order is looked at")
    parser.add_argument("--parts", default="offline,empty,daemon,order")
    asked = parser.parse_args(arguments)
    figures = {"cores": float(os.cpu_count() or 1), "load_before": round(os.getloadavg()[0], 2)}
    parts = asked.parts.split(",")
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        if "offline" in parts:
            figures |= _restored(Path(folder), asked)
        if "empty" in parts:
            figures |= _empty_units(asked.empty)
        if "daemon" in parts:
            figures |= _workers.compared(Path(folder), rounds=asked.rounds, n_volumes=8 * asked.units)
        if "order" in parts:
            figures |= _workers.order(Path(folder), asked.small)
    return figures | {"load_after": round(os.getloadavg()[0], 2)}


def _restored(folder: Path, asked: argparse.Namespace) -> dict[str, float]:
    """Restore the same movie by each way, in turns."""
    movie = np.stack([counts(tuple(asked.shape), seed=t) for t in range(asked.units)])
    tifffile.imwrite(folder / "movie.tif", movie)
    network = open_network(provider="cpu", threads=1)
    spent = {"plain": Spent(), "one": Spent(), "two": Spent()}
    with connect(1) as one, connect(2) as two:
        two.wait_for_workers(2)
        ways: dict[str, tuple[Restorer, list[int]]] = {
            "plain": (LocalRestorer(network), []),
            "one": (ClusterRestorer(network, one, own_workers=1), _process_ids(one)),
            "two": (ClusterRestorer(network, two, own_workers=2), _process_ids(two)),
        }
        idle = _idle_share([psutil.Process(), *map(psutil.Process, ways["one"][1])])
        for number in range(asked.rounds + 1):  # the first one opens networks, and does not count
            for name, (restorer, workers) in ways.items():
                with spent_in(Spent() if number == 0 else spent[name], workers):
                    _restore(folder / "movie.tif", folder / f"{name}-{number}", network, restorer)
                if number:
                    say(f"{name} {number}: {spent[name].wall_s[-1]:.2f} s, CPU {spent[name].cpu_s[-1]:.2f} s")
    return _compared(spent, asked.units, idle)


def _idle_share(processes: list[psutil.Process], for_s: float = 5.0) -> float:
    """Return the CPU time a second that a scheduler, a client and a worker take while nothing is to be done."""
    before = cpu_s(processes)
    time.sleep(for_s)
    return (cpu_s(processes) - before) / for_s


def _compared(spent: dict[str, Spent], n_units: int, idle: float) -> dict[str, float]:
    wall = {name: statistics.median(one.wall_s) for name, one in spent.items()}
    least = {name: min(one.wall_s) for name, one in spent.items()}
    cpu = {name: statistics.median(one.cpu_s) for name, one in spent.items()}
    others = [cores for one in spent.values() for cores in one.other_cores]
    unit_s = cpu["plain"] / n_units
    beside_s = (cpu["one"] - cpu["plain"] - idle * wall["one"]) / n_units
    return {
        "unit_cpu_s": round(unit_s, 3),
        "idle_cpu_share": round(idle, 4),
        "dask_cpu_s_per_unit_beside_idle": round(beside_s, 4),
        "dask_over_plain_undisturbed": round(1 + idle + beside_s / unit_s, 3),
        "unit_wall_s": round(wall["plain"] / n_units, 3),
        "two_over_one": round(wall["one"] / wall["two"], 3),
        "two_over_one_best": round(least["one"] / least["two"], 3),
        "two_over_one_by_cpu": round(2 * cpu["one"] / cpu["two"], 3),
        "dask_over_plain": round(wall["one"] / wall["plain"], 3),
        "dask_over_plain_best": round(least["one"] / least["plain"], 3),
        "dask_over_plain_by_cpu": round(cpu["one"] / cpu["plain"], 3),
        "other_cores_median": round(statistics.median(others), 2),
        "other_cores_most": round(max(others), 2),
    }


def _restore(movie: Path, output: Path, network: OpenedNetwork, restorer: Restorer) -> None:
    plan = plan_archive([movie], output, axes="TZYX", keep_raw=False, as_tiff=False)
    report = restore_archive(plan, network, restorer=restorer, progress=False)
    if not report.is_complete:
        raise RuntimeError(report.problems[0])


def _empty_units(n_units: int) -> dict[str, float]:
    """Hand out units without work as time points are, and compare memory at the end with that after a tenth."""
    with connect(1) as client:
        (worker,) = (psutil.Process(number) for number in _process_ids(client))
        own, begun, before_s = psutil.Process(), time.perf_counter(), time.process_time()
        early = (0, 0)
        for numbers, outcome in handed_out(client, Unordered(client, do_nothing), iter(range(n_units))):
            outcome.result()
            if not any(early) and numbers[-1] >= n_units // 10:
                early = (own.memory_info().rss, worker.memory_info().rss)
        wall_s, own_s = time.perf_counter() - begun, time.process_time() - before_s
        late = (own.memory_info().rss, worker.memory_info().rss)
    return {
        "empty_units": float(n_units),
        "empty_units_per_s": round(n_units / wall_s, 1),
        "empty_unit_cpu_ms_of_client_and_scheduler": round(1e3 * own_s / n_units, 3),
        "growth_mib_of_client_and_scheduler": round((late[0] - early[0]) / 2**20, 2),
        "growth_mib_of_worker": round((late[1] - early[1]) / 2**20, 2),
    }


def do_nothing(number: int) -> int:
    return number


def _process_ids(client: Any) -> list[int]:
    return list(client.run(os.getpid).values())
