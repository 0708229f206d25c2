"""What ``source.kind = "studio"`` costs a real Micro-Manager with its window: its rate with care_live over without.

Acquisitions in the window (stacks of 16 planes, simulated devices), saved as image stack files and in memory, and its
Live, alternately alone and with the source, assembling and storage of every raw plane in another process; restoration
is not run, since on two cores it would compete with the simulated camera. ``lost`` counts planes that were not stored.
Live's rate is that of the camera, by its image numbers; its newest frame is taken up to 25 times a second.
The load of the machine stands beside each ratio. Needs Java and Xvfb (see ``.ci/run``). Medians over the pairs.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from benches._pairs import say
from care_live.assemble import Assembler
from care_live.config import AssembleConfig, StoreConfig, StudioConfig
from care_live.images import RunEnded, RunStarted, Volume
from care_live.source.studio import StudioSource
from care_live.store import RunWriter, open_run

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.source.java_program import java_program
from tests.source.window_driver import Saved, WindowDriver

_PLANES = 16
_WARMING = 2
_WAIT_S = 120.0
_LIVE_S = 4.0
_TAKE_S = 0.04
_SETTLE_S = 3.0
"""Live begins slowly: its window is laid out."""


class Case(NamedTuple):
    """One kind of acquisition."""

    size_px: int
    saved: Saved
    n_times: int


CASES = {
    "512_saved": Case(512, "MULTIPAGE_TIFF", 8),
    "512_memory": Case(512, "RAM", 4),
    "2048_saved": Case(2048, "MULTIPAGE_TIFF", 2),
    "2048_memory": Case(2048, "RAM", 1),
}


def serve(connection: Any) -> None:
    """Do what the parent asks, in a process of its own: store the next acquisition, or look at Live."""
    while (asked := connection.recv()) is not None:
        with closing(StudioSource(StudioConfig(port=asked["port"]), run_id="bench")) as source:
            if not source.seen.wait(120):
                raise SystemExit("no Micro-Manager")
            connection.send("ready")
            if asked["what"] == "live":
                connection.send(_look(source, connection))
            else:
                with tempfile.TemporaryDirectory() as folder:
                    connection.send(_store(source, Path(folder)))


def _look(source: StudioSource, connection: Any) -> int:
    n = 0
    while not connection.poll():
        n += source.live.take(0.5) is not None
        time.sleep(_TAKE_S)
    connection.recv()
    return n


def _store(source: StudioSource, folder: Path) -> int:
    """Take one run to disk; return how many planes were stored."""
    assembler = Assembler(AssembleConfig(), admit=lambda n_bytes: True)
    writer: RunWriter | None = None
    n_stored = 0
    while True:
        event = source.next_event(0.5)
        if event is None:
            continue
        if isinstance(event, RunStarted):
            writer = open_run(StoreConfig(directory=folder), event)
        for one in assembler.take(event):
            if isinstance(one, Volume) and writer is not None:
                writer.write_raw(one)
                n_stored += len(one.integrity.received)
        if isinstance(event, RunEnded):
            break
    if writer is not None:
        writer.close()
    return n_stored


class Bench:
    """One Micro-Manager, one process beside it."""

    def __init__(self, port: int, driver: WindowDriver, child: Any, folder: Path) -> None:
        self._port, self._driver, self._child, self._folder = port, driver, child, folder
        self._number = 0

    def set_size(self, size_px: int) -> None:
        self._driver.camera(size_px, exposure_ms=10.0, Mode="Artificial Waves")

    def acquire(self, case: Case, *, beside: bool) -> tuple[float, int]:
        """Return seconds of an acquisition, and planes that were not stored."""
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        if beside:
            self._child.send({"what": "store", "port": self._port})
            assert self._child.recv() == "ready"
        start = time.perf_counter()
        store = self._driver.acquire(case.saved, None if case.saved == "RAM" else folder, (case.n_times, _PLANES))
        self._driver.wait_closed(store)
        seconds = time.perf_counter() - start
        lost = case.n_times * _PLANES - self._received() if beside else 0
        self._driver.discard(store)  # Java's memory holds few acquisitions
        return seconds, lost

    def _received(self) -> int:
        """Return what the process beside answers; an acquisition that fails is no run, and nothing would come."""
        if not self._child.poll(_WAIT_S):
            raise SystemExit(f"the acquisition was not stored within {_WAIT_S:g} s: see Micro-Manager's CoreLogs")
        return int(self._child.recv())

    def live(self, *, beside: bool) -> tuple[float, int]:
        """Return the frame rate of the camera in Live, and how many frames the process beside it got."""
        self._driver.live(True)
        try:
            time.sleep(_SETTLE_S)
            if beside:
                self._child.send({"what": "live", "port": self._port})
                assert self._child.recv() == "ready"
            first, start = self._driver.live_number(), time.perf_counter()
            time.sleep(_LIVE_S)
            rate = (self._driver.live_number() - first) / (time.perf_counter() - start)
            if not beside:
                return rate, 0
            self._child.send("enough")
            return rate, self._received()
        finally:
            self._driver.live(False)


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="bench.py studio", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--only", choices=[*CASES, "512_live", "2048_live"])
    options = parser.parse_args(arguments)
    here, there = mp.get_context("spawn").Pipe()
    process = mp.get_context("spawn").Process(target=serve, args=(there,))
    figures: dict[str, float] = {"pairs": float(options.pairs), "lost": 0.0}
    process.start()
    there.close()  # so that its end is noticed
    try:
        for name in (*CASES, "512_live", "2048_live"):
            if options.only in (None, name):
                one = _alone(name, here, options.pairs)
                say(", ".join(f"{key} {value:.3g}" for key, value in one.items()))
                figures |= {**one, "lost": figures["lost"] + one["lost"]}
        here.send(None)
        process.join(30)
    finally:
        process.kill()
    return figures


def _alone(name: str, child: Any, n_pairs: int) -> dict[str, float]:
    """Measure one case in a Micro-Manager of its own: what it acquires in memory may stay there."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        java_program("window", Path(temporary)) as port,
        closing(WindowDriver(port)) as driver,
    ):
        return _pairs(Bench(port, driver, child, Path(temporary)), name, n_pairs)


def _pairs(bench: Bench, name: str, n_pairs: int) -> dict[str, float]:
    bench.set_size(int(name.split("_", maxsplit=1)[0]))
    case, ratios, rates, loads, lost = CASES.get(name), [], [], [], 0
    if case is not None:
        for beside in (False, True) * _WARMING:  # Java compiles what it runs often, and we import
            bench.acquire(case, beside=beside)
    for number in range(n_pairs):
        loads.append(os.getloadavg()[0])
        order = (False, True) if number % 2 == 0 else (True, False)  # Java goes on getting faster
        if case is None:
            lives = {beside: bench.live(beside=beside) for beside in order}
            (alone, _), (beside, n) = lives[False], lives[True]
            rates.append(n / _LIVE_S)
            ratios.append(beside / alone)
            continue
        acquired = {beside: bench.acquire(case, beside=beside) for beside in order}
        (alone, _), (beside, missing) = acquired[False], acquired[True]
        rates.append(case.n_times * _PLANES / beside)
        ratios.append(alone / beside)
        lost += missing
    return {
        f"rate_ratio_{name}": statistics.median(ratios),
        f"rate_ratio_{name}_worst": min(ratios),
        f"frames_per_s_{name}": statistics.median(rates),
        f"load_{name}": statistics.median(loads),
        "lost": float(lost),
    }
