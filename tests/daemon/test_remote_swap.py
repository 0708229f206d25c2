"""Another network for workers on other machines: all change before the same volume, or all keep the one before."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from care_live.daemon.dask_scheduler import look
from care_live.daemon.worker_group import WorkerGroup
from care_live.images import VolumeKey
from tests.faults.lab import FULL
from tests.make.dask_cluster import WAIT_S, Cluster
from tests.make.inference import settings
from tests.make.networks import save_network
from tests.make.waiting import until
from tests.make.worker_groups import names_of, stacks, swapped

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swap")
    save_network(folder / "net.onnx", filters=2)
    save_network(folder / "other.onnx", filters=2, seed=5)
    return folder


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    found = Cluster(folder)
    yield found
    found.close()


@pytest.fixture(scope="module")
def pair(folder: Path, cluster: Cluster) -> Iterator[WorkerGroup]:
    """Two workers of a Dask cluster, and none here."""
    there = {"scheduler": str(cluster.file), "workers": 0, "remote_workers": 2, "remote_bind": "tcp://127.0.0.1:0"}
    until(lambda: look(str(cluster.file)).n_workers > 1, WAIT_S)  # else Dask may give both tasks to the one that it has
    group = WorkerGroup(settings(folder / "net.onnx", **there))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("care_live.worker.remote_protocol.LOST_S", 20.0)  # a busy machine is not a lost one
        group.start()
        until_ready(group)
        yield group
        group.stop()


def until_ready(group: WorkerGroup) -> None:
    until(lambda: group.watch() or all(worker.supervisor.is_ready for worker in group.workers), WAIT_S)


def test_both_change_before_the_same_volume_and_go_back(pair: WorkerGroup, folder: Path) -> None:
    before = set(swapped(pair, folder / "other.onnx", "all workers go forward", 1, WAIT_S))
    assert before == {"net"}
    assert pair.may_take(pair.workers[0], [VolumeKey(0, 1)])
    assert names_of(pair) == ["other", "other"]
    for worker in pair.workers:
        assert pair.restore(worker, [stacks(1, n=1)[0]])[0].model.name == "other"
    assert pair.swap_state.startswith("took over; on the same volume its mean differs")
    pair.rollback()
    assert pair.may_take(pair.workers[0], [VolumeKey(1, 1)])
    assert names_of(pair) == ["net", "net"]
    for worker in pair.workers:
        assert pair.restore(worker, [stacks(1, n=1)[0]])[0].model.name == "net"


def test_a_network_that_cannot_be_loaded_there_is_refused_with_the_reason(pair: WorkerGroup, folder: Path) -> None:
    whole = (folder / "other.onnx").read_bytes()
    (folder / "broken.onnx").write_bytes(whole[: len(whole) // 2])
    swapped(pair, folder / "broken.onnx", "refused", 2, WAIT_S)
    assert f"{platform.node()}: {folder / 'broken.onnx'} is not an ONNX file" in pair.swap_state
    pair.watch()
    assert pair.may_take(pair.workers[0], [VolumeKey(0, 2)])
    assert names_of(pair) == ["net", "net"]
    for worker in pair.workers:
        assert pair.restore(worker, [stacks(2, n=1)[0]])[0].model.name == "net"


@pytest.mark.skipif(os.name == "nt" or not FULL, reason="CARE_LIVE_FAULTS=full; Windows has no SIGKILL")
def test_a_machine_that_is_lost_meanwhile_ends_the_swap(pair: WorkerGroup, folder: Path, cluster: Cluster) -> None:
    swapped(pair, folder / "other.onnx", "all workers go forward", 3, WAIT_S)
    cluster.workers[0].kill()
    until(lambda: pair.watch() or pair.swap_state.startswith("refused"), WAIT_S)
    assert names_of(pair) == ["net", "net"]
    left = [worker for worker in pair.workers if worker.supervisor.is_ready]
    assert left
    for worker in left:
        assert pair.may_take(worker, [VolumeKey(9, 3)])
        assert pair.restore(worker, [stacks(3, n=1)[0]])[0].model.name == "net"
