"""kill -9 at random moments: nothing acknowledged is lost, and a reader never sees a wrong volume."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from care_live.errors import StoreError
from care_live.store import RunReader, verify
from tests.make.stored import make_pixels, make_plan, make_restored, make_volume, open_writer
from tests.make.waiting import until
from tests.store.child_writer import SHAPE

ROOT = Path(__file__).resolve().parents[2]


def run_until_killed(folder: Path, after_s: float, *, n_lines: int) -> list[tuple[str, int]]:
    """Let a writer live for a time after it opened the run and wrote some lines; return what it acknowledged."""
    command = [sys.executable, "-m", "tests.store.child_writer", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == "opened\n"
            said = "".join(child.stdout.readline() for _ in range(n_lines))
            killer = threading.Timer(after_s, child.kill)
            killer.start()
            said += child.stdout.read()
        finally:
            child.kill()
        killer.join(60)
    lines = [line.split() for line in said.splitlines(keepends=True) if line.endswith("\n")]
    return [(kind, int(t)) for kind, t in lines]


class Watcher:
    """Reads the newest volume again and again while writers live and die."""

    def __init__(self, folder: Path) -> None:
        self.n_reads = 0
        self.bad: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(folder / "run",))
        self._thread.start()

    def _watch(self, run: Path) -> None:
        reader = None
        while not self._stop.wait(0.005):
            try:
                reader = reader or RunReader(run)
            except StoreError:
                continue  # no run yet
            try:
                reader.refresh()
                for key in reader.keys("raw")[-1:]:
                    np.testing.assert_array_equal(reader.read("raw", key), make_pixels(key, SHAPE))
                    self.n_reads += 1
            except (StoreError, AssertionError) as error:
                self.bad.append(str(error))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def check_acknowledged(run: Path, raw: set[int], restored: set[int]) -> None:
    reader = RunReader(run)
    assert {key.t for key in reader.keys("raw")} >= raw
    stored = {key.t for key in reader.keys("restored")}
    replaced = restored - stored  # retracted, and killed before the new one was safe: restored once more
    assert len(replaced) <= 1 and replaced <= {key.t for key in reader.raw_only()}
    for key in reader.keys("raw")[-20:]:  # older ones were looked at after earlier kills, and verify reads all
        np.testing.assert_array_equal(reader.read("raw", key), make_pixels(key, SHAPE))
    for key in reader.keys("restored")[-20:]:
        wanted = make_restored(make_volume(key, SHAPE))
        np.testing.assert_allclose(reader.read("restored", key), wanted.mean, rtol=2**-11)


def kill_again_and_again(folder: Path, n_kills: int, seed: int) -> None:
    chance = random.Random(seed)
    watcher = Watcher(folder)
    raw: set[int] = set()
    restored: set[int] = set()
    try:
        for n in range(1, n_kills + 1):
            for kind, t in run_until_killed(folder, chance.uniform(0, 0.5), n_lines=int(n == 1)):
                (raw if kind == "raw" else restored).add(t)
            check_acknowledged(folder / "run", raw, restored)
            writer = open_writer(folder, make_plan(shape=SHAPE, endless=True))
            for key in writer.raw_only():  # what a daemon does on start
                writer.write_restored(make_restored(RunReader(writer.path).read_raw(key)))
            assert writer.raw_only() == []
            writer.close()
            if n % 5 == 0 or n == n_kills:
                report = verify(folder / "run")
                assert report.clean, report.problems
            restored.update(key.t for key in RunReader(folder / "run").keys("restored"))
        until(lambda: watcher.n_reads or watcher.bad)
    finally:
        watcher.stop()
    assert watcher.bad == []
    assert raw
