"""Workers on other machines: a daemon is killed, two daemons share a scheduler, and a lost worker's volume moves."""

from __future__ import annotations

import itertools
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from tests.faults.lab import FULL, check_whole, daemon
from tests.make.dask_cluster import WAIT_S, Cluster
from tests.make.runs import movie, replay
from tests.make.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not FULL, reason="CARE_LIVE_FAULTS=full"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]
N_TIMES = 60
SHAPE = (8, 96, 96)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    found = Cluster(tmp_path)
    yield found
    found.close()


def folder_of(tmp_path: Path, name: str) -> tuple[Path, NDArray[np.uint16]]:
    folder = tmp_path / name
    folder.mkdir()
    return folder, movie(folder / "movie.tif", times=N_TIMES, shape=SHAPE)


def restore(cluster: Cluster, n: int) -> dict[str, Any]:
    there = {"scheduler": str(cluster.file), "workers": 0, "remote_workers": n, "remote_bind": "tcp://127.0.0.1:0"}
    return {"provider": "cpu", "threads": 1, "policy": "wait", **there}


def running_there(cluster: Cluster) -> list[psutil.Process]:
    """Return the processes of our workers: what Dask's workers have started, and what that has started."""
    return [child for one in cluster.workers for child in psutil.Process(one.pid).children(recursive=True)]


def n_tasks(cluster: Cluster) -> int:
    """Return how many tasks the scheduler has, of whichever client."""
    from distributed import Client

    with Client(scheduler_file=str(cluster.file), timeout=WAIT_S, set_as_default=False) as client:
        return sum(map(len, client.processing().values()))


def test_a_daemon_that_is_killed_leaves_no_worker_and_no_task(tmp_path: Path, cluster: Cluster) -> None:
    folder, _ = folder_of(tmp_path, "killed")
    with daemon(folder, source=replay(folder / "movie.tif", speed=2.0), restore=restore(cluster, 2)) as killed:
        killed.wait_until(lambda status: status.get("restored", 0) > 2)
        assert len(running_there(cluster)) >= 4, "a worker and its inference process on each of two machines"
        assert n_tasks(cluster) == 2
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait(WAIT_S)
    until(lambda: not running_there(cluster), WAIT_S)
    until(lambda: not n_tasks(cluster), WAIT_S)


def test_two_daemons_share_a_scheduler_and_both_runs_are_whole(tmp_path: Path, cluster: Cluster) -> None:
    """Each wants all workers that there are: what does not fit waits."""
    with ExitStack() as stack:
        both = []
        for name in ("one", "other"):
            folder, pixels = folder_of(tmp_path, name)
            source = replay(folder / "movie.tif", speed=20.0)
            both.append(stack.enter_context(daemon(folder, source=source, restore=restore(cluster, 2))))
        for one in both:
            one.end(within_s=300.0)
            check_whole(one.run, pixels)
    until(lambda: not running_there(cluster), WAIT_S)


def test_a_volume_of_a_killed_worker_moves_within_seconds(tmp_path: Path, cluster: Cluster) -> None:
    folder, pixels = folder_of(tmp_path, "moves")
    with daemon(folder, source=replay(folder / "movie.tif", speed=20.0), restore=restore(cluster, 2)) as ours:
        ours.wait_until(lambda status: all(worker["restored"] for worker in status.get("workers") or [{"restored": 0}]))
        cluster.workers[0].kill()
        killed_s = time.monotonic()
        seen: dict[int, float] = {}  # when each number of restored volumes was seen first

        def goes_on(status: dict[str, Any]) -> bool:
            seen.setdefault(status["restored"], time.monotonic() - killed_s)
            return status["restored"] >= N_TIMES - 2 or status["phase"] != "running"

        ours.wait_until(goes_on)
        longest_s = max(other - one for one, other in itertools.pairwise(seen.values()))
        print(f"longest pause {longest_s:.2f} s")
        ours.end(within_s=300.0)
        check_whole(ours.run, pixels)
