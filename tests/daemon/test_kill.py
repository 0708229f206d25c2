"""kill -9 at random moments: of the daemon, of the inference process, of a watcher; and inference that hangs.

How often: CARE_LIVE_KILLS, 3 by default; the full measure is 20. How long it took to resume is a property of the
test (``--junit-xml``), and printed (``-s``).
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.model.file import shipped
from care_live.store import RunReader, verify
from tests.daemon.runs import config, movie, replay, run, settings
from tests.test_cli import toml

N_KILLS = int(os.environ.get("CARE_LIVE_KILLS", "3"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 40 * N_KILLS)]


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "care_live", "run", "config.toml", "--run-id", "killed", "-q"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def n_acknowledged(folder: Path) -> int:
    """Return how many raw volumes the journal has."""
    try:
        return len(RunReader(folder / "runs" / "killed").keys("raw"))
    except StoreError:
        return 0


def acknowledged(folder: Path) -> dict[VolumeKey, bytes]:
    """Return the pixels of every raw volume that the journal has."""
    reader = RunReader(folder / "runs" / "killed")
    return {key: reader.read("raw", key).tobytes() for key in reader.keys("raw")}


def waits_for_more(folder: Path, than: int, daemon: subprocess.Popen[bytes]) -> Iterator[float]:
    """Yield while the daemon lives and has not stored more raw volumes than before."""
    began = time.monotonic()
    while daemon.poll() is None and n_acknowledged(folder) <= than:
        yield time.monotonic() - began
        time.sleep(0.05)


def test_a_killed_daemon_loses_nothing_that_was_acknowledged(tmp_path, record_property):
    rng = random.Random(7)
    n_volumes = 12 * N_KILLS
    pixels = movie(tmp_path / "movie.tif", times=n_volumes)
    tree = settings(tmp_path, replay(tmp_path / "movie.tif", speed=60.0), restore={"policy": "latest"})
    (tmp_path / "config.toml").write_text(toml(tree))
    kept: dict[VolumeKey, bytes] = {}
    resumed_s = []
    for _ in range(N_KILLS):
        began = time.monotonic()
        daemon = start(tmp_path)
        for waited_s in waits_for_more(tmp_path, len(kept), daemon):
            assert waited_s < 60
        resumed_s.append(time.monotonic() - began)
        time.sleep(rng.uniform(0.0, 0.6))
        daemon.kill()
        daemon.wait(20)
        now = acknowledged(tmp_path)
        assert all(now.get(key) == pixels_before for key, pixels_before in kept.items())
        found = {problem.kind for problem in verify(tmp_path / "runs" / "killed").problems}
        assert found <= {"orphan", "partial", "journal"}  # half-written and never acknowledged: swept at the next start
        kept = now
    tell(record_property, "resumed_s", resumed_s[1:])
    last = start(tmp_path)
    assert last.wait(120) == 0
    reader = RunReader(tmp_path / "runs" / "killed")
    assert reader.keys("raw") == reader.keys("restored") == [VolumeKey(t) for t in range(n_volumes)]
    assert all((reader.read("raw", VolumeKey(t)) == pixels[t]).all() for t in range(n_volumes))
    assert verify(tmp_path / "runs" / "killed").clean


def tell(record_property: Callable[[str, object], None], name: str, seconds: Sequence[float]) -> None:
    """Note what is measured here and promised nowhere in the code: machines differ, and are busy."""
    figures = f"median {statistics.median(seconds):.1f}, worst {max(seconds):.1f}, of {len(seconds)}"
    record_property(name, figures)
    print(f"{name}: {figures}, load {os.getloadavg()[0]:.1f}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process in its tracks")
def test_inference_that_hangs_is_replaced_and_what_it_missed_restored(tmp_path, record_property):
    movie(tmp_path / "movie.tif", times=2, shape=(32, 256, 256))
    model = {"model": str(shipped()), "provider": "cpu", "threads": 1}
    replaced_s = []

    def hang_within_a_volume(daemon):
        def hang() -> None:
            while not daemon.status().volumes and not over.wait(0.05):
                pass
            over.wait(0.5)
            os.kill(daemon.inference_process_id, signal.SIGSTOP)
            began = time.monotonic()
            while not daemon.status().restarts and not over.wait(0.05):
                pass
            replaced_s.append(time.monotonic() - began)

        threading.Thread(target=hang).start()

    over = threading.Event()
    status = run(config(tmp_path, replay(tmp_path / "movie.tif"), restore=model), meanwhile=hang_within_a_volume)
    over.set()
    tell(record_property, "replaced_s", replaced_s)
    assert (status.restarts, status.failed, status.lost_planes) == (1, 1, 0)
    reader = RunReader(tmp_path / "runs" / "test")
    assert reader.keys("raw") == reader.keys("restored") == [VolumeKey(0), VolumeKey(1)]
    assert verify(tmp_path / "runs" / "test").clean


def test_a_killed_inference_process_is_replaced_every_time(tmp_path):
    rng = random.Random(8)
    movie(tmp_path / "movie.tif", times=20 * N_KILLS)
    over = threading.Event()

    def kill_now_and_then(daemon):
        def kills() -> None:
            for n in range(N_KILLS):
                while daemon.status().restarts < n and not over.wait(0.05):
                    pass
                if over.wait(rng.uniform(0.3, 1.5)):
                    return
                os.kill(daemon.inference_process_id, signal.SIGKILL)

        threading.Thread(target=kills).start()

    settings_ = config(tmp_path, replay(tmp_path / "movie.tif", speed=30.0))
    status = run(settings_, meanwhile=kill_now_and_then)
    over.set()
    assert status.restarts >= 1
    assert status.lost_planes == 0
    reader = RunReader(tmp_path / "runs" / "test")
    assert reader.keys("raw") == reader.keys("restored")
    assert verify(tmp_path / "runs" / "test").clean


def test_killed_watchers_are_not_noticed_by_the_run(tmp_path):
    movie(tmp_path / "movie.tif", times=10 * N_KILLS)
    settings_ = config(tmp_path, replay(tmp_path / "movie.tif", speed=40.0))
    address, rng, over = settings_.publish.bind_pull, random.Random(9), threading.Event()

    def watch_and_die(daemon):
        def watch() -> None:
            for _ in range(N_KILLS):
                watcher = subprocess.Popen(
                    [sys.executable, "-c", f"import care_live\nfor v in care_live.subscribe({address!r}): pass"]
                )
                over.wait(rng.uniform(0.3, 1.5))
                watcher.kill()
                watcher.wait(20)

        threading.Thread(target=watch).start()

    status = run(settings_, meanwhile=watch_and_die)
    over.set()
    assert status.lost_planes == 0
    assert verify(tmp_path / "runs" / "test").clean
