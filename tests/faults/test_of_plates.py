"""A plate on a cluster whose workers, client and scheduler are killed at random: the bytes of an undisturbed run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

import care_live
from tests.faults.lab import FULL
from tests.make.dask_cluster import WAIT_S, Cluster, wait_for
from tests.make.networks import save_network
from tests.make.plates import write_plate
from tests.offline.results import SETTINGS, files, n_acknowledged

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]
WELLS = [f"{row}/{column}" for row in "ABCDEFGH" for column in range(1, 13)][: None if FULL else 3]
FIELDS, SHAPE = 3, (6, 96, 96)
N_KILLS = 20 if FULL else 3
SEED = int(time.time())


class Restoring:
    """One command on a cluster, each started again when it is killed.

    Parameters
    ----------
    command : what restores the plate, without the scheduler
    """

    def __init__(self, folder: Path, command: Sequence[object]) -> None:
        self._folder, self._command = folder, command
        self._n_started = 0
        self._cluster = self._new_cluster()
        self.client = self._new_client()

    def close(self) -> None:
        if self.client.returncode is None:
            self.client.kill()
            self.client.communicate(timeout=WAIT_S)
        self._cluster.close()

    def kill_worker(self) -> None:
        self._cluster.workers[0].send_signal(signal.SIGKILL)
        self._cluster.workers.pop(0).wait(WAIT_S)
        self._n_started += 1
        self._cluster.workers.append(self._cluster.add_worker(10 + self._n_started))

    def kill_client(self) -> None:
        self.client.kill()
        self.client.communicate(timeout=WAIT_S)
        self.client = self._new_client()

    def kill_scheduler(self) -> None:
        self._cluster.scheduler.kill()
        said, _ = self.client.communicate(timeout=WAIT_S)
        if self.client.returncode:  # else it had just ended
            assert "the Dask scheduler is gone" in said, said
        self._cluster.close()
        self._cluster = self._new_cluster()
        self.client = self._new_client()

    def _new_cluster(self) -> Cluster:
        self._n_started += 1
        folder = self._folder / f"cluster-{self._n_started}"
        folder.mkdir()
        return Cluster(folder)

    def _new_client(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "care_live", "restore", *self._command, "--scheduler-file", self._cluster.file]
        return subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        )


@pytest.fixture
def restoring(tmp_path: Path) -> Iterator[Restoring]:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    model = save_network(tmp_path / "net.onnx", filters=4)
    fields = np.random.default_rng(1).poisson(20, (len(WELLS) * FIELDS, *SHAPE)).astype(np.uint16)
    write_plate(str(tmp_path / "plate.zarr"), WELLS, fields)
    care_live.restore(tmp_path / "plate.zarr", tmp_path / "undisturbed", model=model, **SETTINGS)
    options = ("--model", model, "--provider", "cpu", "--threads", 1)
    with ExitStack() as stack:
        yield stack.enter_context(closing(Restoring(tmp_path, (tmp_path / "plate.zarr", tmp_path / "out", *options))))


def test_a_plate_comes_whole_whatever_is_killed(restoring: Restoring, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    draw, output = random.Random(SEED), tmp_path / "out"
    n_all = len(WELLS) * FIELDS
    kinds = [restoring.kill_worker, restoring.kill_client, restoring.kill_scheduler]
    for number in range(N_KILLS):
        wanted = n_acknowledged(output) + draw.randint(1, max(1, n_all // N_KILLS))
        wait_for(lambda wanted=wanted: n_acknowledged(output) >= wanted or restoring.client.poll() is not None)
        if restoring.client.poll() is None:
            (kinds[number] if not FULL else draw.choice([*kinds, restoring.kill_worker]))()
    said, _ = restoring.client.communicate(timeout=WAIT_S)
    assert restoring.client.returncode == 0, said
    assert files(output) == files(tmp_path / "undisturbed")
    restored = [line["key"] for line in _journal(output) if line["kind"] == "restored"]
    assert len(restored) == len({tuple(key) for key in restored}) == n_all


def _journal(output: Path) -> list[dict[str, object]]:
    (journal,) = output.rglob("journal.jsonl")
    return [json.loads(line)["record"] for line in journal.read_bytes().splitlines()]
