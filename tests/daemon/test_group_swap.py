"""All workers change to another network before the same volume, or none does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from msgspec.structs import replace

from care_live.daemon.worker_group import WorkerGroup
from care_live.errors import RestoreError, WorkerLostError
from care_live.images import VolumeKey
from care_live.restore.channel_choice import ChannelChoice
from care_live.restore.engine import Engine
from care_live.worker.hot_swap import HotSwap
from care_live.worker.supervisor import InferenceSupervisor
from tests.make.inference import settings
from tests.make.networks import save_network
from tests.make.processes import children
from tests.make.waiting import until
from tests.make.worker_groups import names_of, stacks, swapped

pytestmark = pytest.mark.slow


@pytest.fixture
def pair(network: Path) -> Iterator[WorkerGroup]:
    """Two workers of one test, which may keep a network before and a candidate."""
    group = WorkerGroup(settings(network, workers=2))
    group.start()
    yield group
    group.stop()


def inference_processes() -> set[psutil.Process]:
    return set(children(with_words="spawn_main"))


def state_while_they_change(group: WorkerGroup, patched: pytest.MonkeyPatch) -> list[str]:
    """Return where the status will be that another thread asks for whenever a worker is about to change."""
    shown: list[str] = []
    change = InferenceSupervisor.change

    def watched(worker: InferenceSupervisor, *, forward: bool) -> None:
        thread = threading.Thread(target=lambda: shown.append(group.swap_state))
        thread.start()
        thread.join(0.3)
        change(worker, forward=forward)

    patched.setattr(InferenceSupervisor, "change", watched)
    return shown


def test_all_workers_change_before_the_same_volume_and_go_back(
    pair: WorkerGroup, network: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pair.network
    assert set(swapped(pair, other, "all workers go forward", p=11)) == {"net"}
    keys = [VolumeKey(t, 11) for t in (900, 901)]
    assert not pair.may_take(pair.workers[0], [keys[1]], {keys[0]})  # the one before is still being restored
    pair.swap.moves(keys[0])
    assert not pair.may_take(pair.workers[0], [keys[1]])  # the one before will be restored by another worker
    pair.swap.taken(keys[0])
    assert names_of(pair) == ["net", "net"]
    with monkeypatch.context() as patched:
        shown = state_while_they_change(pair, patched)
        assert pair.may_take(pair.workers[0], [keys[1]])
    until(lambda: len(shown) == 2)
    assert all(state.startswith("took over") for state in shown), "never the result of the swap before"
    assert names_of(pair) == ["other", "other"]
    assert pair.swap_state.startswith("took over")
    stack, engine = stacks(p=11, n=1)[0], Engine(other, settings(other))
    for worker in pair.workers:
        (result,) = pair.restore(worker, [stack])
        np.testing.assert_array_equal(result.maps["mean"], engine.restore([stack])[0].maps["mean"])
    assert pair.network_of(result.model).card.name == engine.card.name
    assert [one.identity for one in pair.in_use(ChannelChoice())] == [result.model]
    (described,) = pair.in_use(ChannelChoice(), {0: before.identity})  # whose last result is passed on only now
    assert (described.identity, described.card["name"]) == (before.identity, before.card.name)
    for t in range(3):
        pair.restore(pair.workers[0], [replace(stack, key=VolumeKey(t, 14))])
    for name, knows_range in (("net", False), ("other", True)):  # each has the ranges that it has learnt
        assert "go back" in pair.rollback()
        assert pair.may_take(pair.workers[1], [stack.key])
        assert names_of(pair) == [name, name]
        assert pair.may_take(pair.workers[0], [VolumeKey(4, 14)], {VolumeKey(3, 14)}) == knows_range


def test_a_network_on_trial_is_undone_by_the_way_back(pair: WorkerGroup, other: Path) -> None:
    swapped(pair, other, "all workers go forward", p=14)
    assert pair.order_swap(other, interval_s=lambda: None, even_if_slow=True)  # in place of the one before
    assert pair.rollback() == "the network on trial is given up; the run goes on with net"
    assert pair.swap_state == "refused: it was undone"
    for t, worker in enumerate(pair.workers):
        assert pair.may_take(worker, [VolumeKey(t, 14)])
        assert pair.restore(worker, [stacks(p=14, n=1)[0]])[0].model.name == "net"
    with pytest.raises(RestoreError, match="no swap to roll back"):
        pair.rollback()


def test_a_file_that_changes_while_the_workers_load_it_is_refused(
    pair: WorkerGroup, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker loads the file that would lie there at its time."""
    files = iter((other, save_network(tmp_path / "other.onnx", filters=2, seed=6)))
    order = HotSwap.order
    monkeypatch.setattr(HotSwap, "order", lambda swap, _, **more: order(swap, next(files), **more))
    assert set(swapped(pair, other, "refused: a file changed while the workers loaded it (other ", p=17)) == {"net"}
    for t, worker in enumerate(pair.workers):
        assert pair.may_take(worker, [VolumeKey(t, 17)])
        assert pair.restore(worker, [stacks(p=17, n=1)[0]])[0].model.name == "net"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_candidate_that_one_worker_loses_leaves_all_on_the_network_before(pair: WorkerGroup, other: Path) -> None:
    before = inference_processes()
    swapped(pair, other, "all workers go forward", p=12)
    victim = min(inference_processes() - before, key=lambda process: process.pid)
    victim.kill()
    victim.wait(60)
    until(lambda: pair.watch() or pair.swap_state.startswith("refused"))
    for t, worker in enumerate(pair.workers):
        assert pair.may_take(worker, [VolumeKey(t, 12)])
        assert pair.restore(worker, [stacks(p=12, n=1)[0]])[0].model.name == "net"
    assert not any(worker.hot_swap.is_proved for worker in pair.workers)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_all_go_back_where_one_worker_loses_the_new_network(pair: WorkerGroup, other: Path) -> None:
    swapped(pair, other, "all workers go forward", p=13)
    assert pair.may_take(pair.workers[0], [VolumeKey(0, 13)])
    assert names_of(pair) == ["other", "other"]
    os.kill(pair.process_ids[0], signal.SIGKILL)
    until(lambda: not pair.workers[0].supervisor.is_ready)
    with pytest.raises(WorkerLostError):
        pair.restore(pair.workers[0], [stacks(p=13, n=1)[0]])
    pair.workers[0].revive()
    assert pair.may_take(pair.workers[1], [VolumeKey(1, 13)])
    assert names_of(pair) == ["net", "net"]
    for worker in pair.workers:
        assert pair.restore(worker, [stacks(p=13, n=1)[0]])[0].model.name == "net"


def test_no_other_network_is_ordered_before_the_way_back_is_gone(pair: WorkerGroup, other: Path) -> None:
    swapped(pair, other, "all workers go forward", p=15)
    assert pair.may_take(pair.workers[0], [VolumeKey(0, 15)])
    pair.rollback()
    with pytest.raises(RestoreError, match="all workers go back before the next volume"):
        pair.order_swap(other, interval_s=lambda: None, even_if_slow=True)
    assert pair.may_take(pair.workers[0], [VolumeKey(1, 15)])
    assert names_of(pair) == ["net", "net"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_the_way_back_of_all_gives_up_what_is_on_trial(pair: WorkerGroup, other: Path) -> None:
    swapped(pair, other, "all workers go forward", p=16)
    assert pair.may_take(pair.workers[0], [VolumeKey(0, 16)])
    before = inference_processes()
    pair.order_swap(other, interval_s=lambda: None, even_if_slow=True)
    candidates = inference_processes() - before
    os.kill(pair.process_ids[0], signal.SIGKILL)
    until(lambda: not pair.workers[0].supervisor.is_ready)
    with pytest.raises(WorkerLostError):
        pair.restore(pair.workers[0], [stacks(p=16, n=1)[0]])
    pair.workers[0].revive()
    assert pair.may_take(pair.workers[1], [VolumeKey(1, 16)])
    assert names_of(pair) == ["net", "net"]
    for candidate in candidates:
        candidate.wait(60)
    assert pair.swap_state == "rolled back"
