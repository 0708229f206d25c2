"""Which worker of a Dask cluster gets a further task, and what becomes of the tasks of a lost one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from care_live.daemon import dask_tasks
from care_live.daemon.dask_scheduler import client_of
from care_live.daemon.dask_tasks import PlacedTasks, places
from tests.make.dask_cluster import Cluster, wait_for


def on_gpus(**n_gpus: int) -> dict[str, dict[str, Any]]:
    return {address: {"nthreads": 4, "resources": {"GPU": n}} for address, n in n_gpus.items()}


def on_threads(**n_threads: int) -> dict[str, dict[str, Any]]:
    return {address: {"nthreads": n, "resources": {}} for address, n in n_threads.items()}


def by_daemons(**n_tasks: int) -> dict[str, list[str]]:
    return {address: [f"care-live-worker-{number}" for number in range(n)] for address, n in n_tasks.items()}


def by_others(**n_tasks: int) -> dict[str, list[str]]:
    return {address: [f"fit-{number}" for number in range(n)] for address, n in n_tasks.items()}


@pytest.mark.parametrize(
    ("workers", "busy", "ours", "n", "shares", "wanted"),
    [
        pytest.param(on_gpus(a=1, b=1), {}, [], 2, False, ["a", "b"], id="one each"),
        pytest.param(on_gpus(a=1), by_daemons(a=1), ["a"], 2, True, [], id="not behind our own"),
        pytest.param(on_gpus(a=1, c=1), by_daemons(a=1), ["a"], 2, False, ["c"], id="to the one that replaces another"),
        pytest.param(on_gpus(a=1, b=1), by_daemons(a=1), [], 1, False, ["b"], id="not behind another daemon"),
        pytest.param(
            on_gpus(a=1), by_daemons(a=1), [], 1, False, [], id="not behind another daemon where all are busy"
        ),
        pytest.param(on_gpus(a=1), by_others(a=3), [], 1, False, ["a"], id="on a free GPU beside other work"),
        pytest.param(on_gpus(a=1), by_others(a=4), [], 1, False, [], id="not behind other work"),
        pytest.param(on_threads(a=2), by_others(a=1), [], 1, False, ["a"], id="beside another program"),
        pytest.param(on_threads(a=2, b=2), by_others(a=2, b=1), [], 4, True, ["b"], id="on free threads alone"),
        pytest.param(on_gpus(a=4), {}, [], 6, False, ["a"] * 4, id="as many as there are GPUs"),
        pytest.param(
            on_gpus(a=1) | on_threads(b=8), {}, [], 2, True, ["a"], id="none without a GPU beside one with it"
        ),
        pytest.param(on_threads(a=4), {}, [], 2, False, ["a"], id="one while others may come"),
        pytest.param(on_threads(a=2, b=2), {}, [], 5, True, ["a", "b", "a", "b"], id="as many as there are threads"),
        pytest.param({}, {}, [], 2, True, [], id="no worker yet"),
    ],
)
def test_where_further_tasks_go(workers, busy, ours, n, shares, wanted) -> None:
    assert list(places(workers, busy, ours, n, shares=shares)) == wanted


@dataclass(eq=False)
class Task:
    address: str
    key: str
    status: str = "pending"

    def cancel(self) -> None:
        self.status = "cancelled"


@dataclass
class Scheduler:
    """What a client says of one, and the tasks that it got."""

    workers: dict[str, dict[str, Any]]
    tasks: list[Task] = field(default_factory=list)

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1, "all of them"
        return {"workers": self.workers}

    def processing(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for task in self.pending():
            found[task.address] = (*found.get(task.address, ()), task.key)
        return found

    def submit(self, *_: object, key: str, pure: bool, resources: dict[str, int], workers: list[str]) -> Task:
        assert not pure
        self.tasks.append(Task(*workers, key))
        return self.tasks[-1]

    @property
    def scheduler(self) -> Scheduler:
        return self

    def call_stack(self, keys: list[str]) -> dict[str, dict[str, str]]:
        """On each worker the tasks run that were given first, one for each GPU."""
        found: dict[str, dict[str, str]] = {}
        for address, given in self.processing().items():
            running = given[: self.workers[address]["resources"]["GPU"]]
            found[address] = {key: "running" for key in running if key in keys}
        return found

    def sync(self, function: Callable[..., Any], *, callback_timeout: float, **options: Any) -> Any:
        return function(**options)

    def pending(self) -> list[Task]:
        return [task for task in self.tasks if task.status == "pending"]


def test_the_task_of_a_lost_worker_is_withdrawn_and_a_new_worker_gets_one() -> None:
    scheduler = Scheduler(on_gpus(a=1, b=1))
    tasks = PlacedTasks(scheduler, lambda: 0)
    tasks.reach(2)
    del scheduler.workers["a"]
    tasks.reach(2)
    assert [task.address for task in scheduler.pending()] == ["b"]
    scheduler.workers |= on_gpus(c=1)
    tasks.reach(2)
    assert [task.address for task in scheduler.pending()] == ["b", "c"]
    assert (len(tasks), tasks.ended()) == (2, [])


def test_a_task_that_finds_all_workers_busy_goes_to_one_that_comes_later() -> None:
    scheduler = Scheduler(on_gpus(a=1))
    other_daemon, ours = (PlacedTasks(scheduler, lambda: 0) for _ in range(2))
    other_daemon.reach(1)
    ours.reach(1)
    assert (len(ours), ours.lacks) == (0, "the workers are busy: 1 with other runs")
    scheduler.workers |= on_gpus(b=1)
    ours.reach(1)
    assert [task.address for task in scheduler.pending()] == ["a", "b"]
    assert ours.lacks == ""


def test_of_two_daemons_that_ask_at_the_same_moment_one_takes_its_task_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = Scheduler(on_gpus(a=1, b=1))
    first, second = (PlacedTasks(scheduler, lambda: 0) for _ in range(2))
    first.reach(1)
    with monkeypatch.context() as moment:
        moment.setattr(scheduler, "processing", dict)
        second.reach(1)
    assert [task.address for task in scheduler.pending()] == ["a", "a"]
    first.reach(1)
    assert [task.address for task in scheduler.pending()] == ["a", "a"], "the one that runs stays"
    second.reach(1)
    assert [task.address for task in scheduler.pending()] == ["a", "b"]
    del scheduler.workers["b"]
    second.reach(1)
    assert [task.address for task in scheduler.pending()] == ["a"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no process can be stopped there")
def test_a_worker_that_hangs_holds_up_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    cluster = Cluster(tmp_path)
    try:
        with client_of(str(cluster.file)) as client:
            wait_for(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 2)
            processes = {address: psutil.Process(pid) for address, pid in client.run(os.getpid).items()}
            moves_the_task_that_waits(client, processes, monkeypatch)
    finally:
        cluster.close()


def moves_the_task_that_waits(
    client: Any, processes: dict[str, psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (PlacedTasks(client, time.sleep, 3600.0) for _ in range(2))
    first.reach(1)
    wait_for(lambda: any(client.call_stack().values()))
    with monkeypatch.context() as moment:
        moment.setattr(client, "processing", dict)
        second.reach(1)
    wait_for(lambda: sorted(map(len, client.processing().values())) == [0, 2])
    (shared,) = [address for address, keys in client.processing().items() if keys]
    processes[shared].suspend()
    second.reach(1)  # it comes back
    assert len(client.processing()[shared]) == 2, "what runs there is not known"
    processes[shared].resume()
    (other,) = processes.keys() - {shared}
    processes[other].suspend()
    second.reach(1)
    wait_for(lambda: sorted(map(len, client.processing().values())) == [1, 1])


@pytest.mark.parametrize(
    ("workers", "busy", "ours", "said"),
    [
        pytest.param({}, {}, [], "no worker has come yet", id="none"),
        pytest.param(
            on_gpus(a=1, b=1, c=1),
            by_daemons(a=1) | by_others(b=4) | {"c": ["ours"]},
            ["ours"],
            "the workers are busy: 1 with this run, 1 with other runs, 1 with other programs",
            id="all kinds",
        ),
        pytest.param(on_threads(a=8), {}, [], "no worker is free", id="not yet shared"),
    ],
)
def test_why_there_is_no_room_is_said(workers, busy, ours, said) -> None:
    assert dask_tasks.in_words(workers, busy, ours) == said


def test_a_task_that_ended_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler(on_threads(a=2))
    tasks = PlacedTasks(scheduler, lambda: 0)
    tasks.reach(2)
    assert len(tasks) == 1, "a second worker may come"
    monkeypatch.setattr(dask_tasks, "SHARE_S", -1.0)
    tasks.reach(2)
    assert len(tasks) == 2
    scheduler.tasks[0].status = "finished"
    assert (tasks.ended(), tasks.ended()) == ([scheduler.tasks[0]], [])
    assert len(tasks) == 1
