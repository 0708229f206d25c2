"""What breaks first when workers, units or volumes become many: measured costs, and a simulation of what follows.

Measured here: CPU time of client and scheduler for one unit, time of one synced line of the journal, and requests to an
object store for one volume, by how it is chunked. Simulated from these: units a second against workers, where the
client acknowledges in order and hands out few units ahead, as `care_live.offline.cluster` does.

    python tools/bench.py reach [--units 3000] [--unit-s 1,10] [--json F]
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from benches._pairs import say
from benches._spent import cpu_s
from benches.scale import do_nothing
from care_live.offline.dask_client import connect
from care_live.offline.handed_out import AHEAD, handed_out
from care_live.recorded import open_recording
from care_live.store.journal import Journal
from tests.make.unordered import Unordered

WORKERS = (1, 10, 100, 300, 1000, 3000, 10_000)
SPREAD = 0.3
"""Of the logarithm of how long units take: volumes are alike, machines and disks are not."""
CHUNKS = {"plane": (1, 1, 1, 512, 512), "volume": (1, 1, 32, 512, 512), "small": (1, 1, 16, 128, 128)}
LINE = b'{"kind":"restored","key":[0,0,0]' + b" " * 700 + b"}"
"""As long as the record of a restored volume."""


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="reach", description=__doc__)
    parser.add_argument("--units", type=int, default=3000, help="units without work, to measure what one costs")
    parser.add_argument("--unit-s", default="1,10", help="how long a simulated unit takes")
    asked = parser.parse_args(arguments)
    figures = _costs(asked.units) | {"line_ms": round(1e3 * _line_s(), 3)}
    client_s = 1e-3 * (figures["client_and_scheduler_cpu_ms_per_unit"] + figures["line_ms"])
    for unit_s in map(float, asked.unit_s.split(",")):
        for workers in WORKERS:
            rate = simulated(workers, unit_s, client_s=client_s)
            figures[f"units_per_s_of_{unit_s:g}s_by_{workers}_workers"] = round(rate, 2)
            say(f"{workers} workers, units of {unit_s:g} s: {rate:.1f} a second")
    figures["hours_of_client_and_scheduler_for_100000_units"] = round(client_s * 1e5 / 3600, 3)
    for name, chunks in CHUNKS.items():
        figures |= {f"requests_a_volume_{name}_{kind}": n for kind, n in requests(chunks).items()}
    return figures


def _costs(n_units: int) -> dict[str, float]:
    own = [psutil.Process()]
    with connect(1) as client:
        before_s = cpu_s(own)
        for _, outcome in handed_out(client, Unordered(client, do_nothing), iter(range(n_units))):
            outcome.result()
        return {"client_and_scheduler_cpu_ms_per_unit": round(1e3 * (cpu_s(own) - before_s) / n_units, 3)}


def _line_s(n_lines: int = 200) -> float:
    with tempfile.TemporaryDirectory(prefix="reach-") as folder:
        journal = Journal(Path(folder))
        taken = []
        for _ in range(n_lines):
            begun = time.perf_counter()
            journal.append(LINE)
            taken.append(time.perf_counter() - begun)
        journal.close()
    return statistics.median(taken)


def simulated(workers: int, unit_s: float, *, client_s: float, units_each: int = 40) -> float:
    """Return units a second, at most `AHEAD` units a worker ahead of the oldest one that is not acknowledged.

    Parameters
    ----------
    client_s : what client and scheduler, in one thread, need for each unit
    """
    rng, n_units = np.random.default_rng(1), units_each * workers
    taken = unit_s * rng.lognormal(0.0, SPREAD, n_units) / np.exp(SPREAD**2 / 2)
    free = [0.0] * workers
    done, client = np.zeros(n_units), 0.0
    for unit in range(n_units):
        if unit >= AHEAD * workers:  # the client takes the oldest result before it hands out another unit
            client = max(client, done[unit - AHEAD * workers])
        client += client_s
        begun = max(heapq.heappop(free), client)
        done[unit] = begun + taken[unit]
        heapq.heappush(free, done[unit])
    return float(n_units / done.max())


def requests(chunks: tuple[int, ...], n_volumes: int = 4) -> dict[str, float]:
    """Return requests to an object store for one volume (32, 512, 512) that is read, by kind, and bytes as a share."""
    import zarr

    address = "memory://bucket/image.zarr"
    pixels = np.random.default_rng(0).integers(0, 4000, (n_volumes, 1, 32, 512, 512)).astype(np.uint16)
    image = zarr.open_group(address, mode="w", zarr_format=3)
    image.create_array("0", data=pixels, chunks=chunks)
    axes = [{"name": axis, "type": {"t": "time", "c": "channel"}.get(axis, "space")} for axis in "tczyx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1, 1, 1]}]}]
    image.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    with _counted() as counted, contextlib.closing(open_recording(address)) as recording:
        opened = counted.copy()
        for index in recording.contents.order:
            recording.read_plane(index)
    return {kind: round((n - opened[kind]) / n_volumes, 2) for kind, n in counted.items()}


@contextlib.contextmanager
def _counted() -> Iterator[Counter[str]]:
    """Count what the file system in memory is asked for; on a server each is a request."""
    from fsspec.implementations.memory import MemoryFileSystem

    found: Counter[str] = Counter()
    plain = {name: getattr(MemoryFileSystem, name) for name in ("cat_file", "info")}

    def counting(name: str):
        def call(self, *arguments, **options):
            found[name] += 1
            return plain[name](self, *arguments, **options)

        return call

    for name in plain:
        setattr(MemoryFileSystem, name, counting(name))
    try:
        yield found
    finally:
        for name, method in plain.items():
            setattr(MemoryFileSystem, name, method)
