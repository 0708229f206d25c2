"""The tasks that a Dask cluster has for one run: each for a worker that is named, so that none waits behind another.

Left to itself, Dask gives the task of a worker that was lost to one that has a task already, and leaves it there when a
new worker comes: it moves waiting tasks only where it knows how long tasks take, and these take as long as the run.
Two daemons that look at the same moment choose the same worker: then the one whose task waits there takes it back.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

_ANSWER_S = 4.0
"""Longest wait for what workers say."""
SHARE_S = 30.0
"""Since a worker came or left: then one without GPUs may have several tasks, as many as its threads."""


_PREFIX = "care-live-worker-"
"""Of the tasks of all daemons: with GPUs, each takes one."""


class PlacedTasks:
    """Gives one function to several workers of a scheduler; owned by one thread.

    Parameters
    ----------
    client : of the scheduler
    work, arguments : what each task calls
    """

    def __init__(self, client: Any, work: Callable[..., int], *arguments: object) -> None:
        self._client, self._call = client, (work, *arguments)
        self._tasks: dict[Any, str] = {}  # each with the address of its worker
        self._workers: frozenset[str] = frozenset()
        self._changed_s = 0.0
        self.lacks = ""
        """Why there are fewer tasks than `reach` was asked for, in words."""

    def __len__(self) -> int:
        return len(self._tasks)

    def ended(self) -> list[Any]:
        """Return the tasks that have ended since the last call."""
        ended = [task for task in self._tasks if task.status != "pending"]
        for task in ended:
            del self._tasks[task]
        return ended

    def reach(self, n: int) -> None:
        """Withdraw the tasks of workers that have left, and those that wait behind another program's.

        Give others until there are `n`, as far as there is room.
        """
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        if self._workers != workers.keys():
            self._workers, self._changed_s = frozenset(workers), time.monotonic()
        self._withdraw(task for task, address in self._tasks.items() if address not in workers)
        busy = self._client.processing()
        self._withdraw(self._waiting(workers, busy))
        if n > len(self._tasks):
            shares = time.monotonic() - self._changed_s > SHARE_S
            self._give(list(places(workers, busy, list(self._tasks.values()), n, shares=shares)), gpu=has_gpus(workers))
        self.lacks = "" if n <= len(self._tasks) else in_words(workers, busy, [task.key for task in self._tasks])

    def _withdraw(self, tasks: Iterable[Any]) -> None:
        for task in list(tasks):
            task.cancel()
            del self._tasks[task]

    def _waiting(self, workers: Mapping[str, Mapping[str, Any]], busy: Mapping[str, Collection[str]]) -> list[Any]:
        """Return our tasks that do not run, on workers that run as many others as they can."""
        gpu = has_gpus(workers)
        doubtful = [
            task
            for task, address in self._tasks.items()
            if is_full(workers[address], busy.get(address, ()), gpu, spare=1)
        ]
        if not doubtful:
            return []
        running = self._running([key for task in doubtful for key in busy[self._tasks[task]]])
        return [
            task
            for task in doubtful
            if task.key not in (there := running.get(self._tasks[task], {}))
            and is_full(workers[self._tasks[task]], there, gpu)
        ]

    def _running(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, object]]:
        """Return which of these tasks run, by worker; one that has just left, or hangs, does not say it."""
        found: Mapping[str, Mapping[str, object]] = {}
        with contextlib.suppress(Exception):
            found = self._client.sync(self._client.scheduler.call_stack, keys=keys, callback_timeout=_ANSWER_S)
        return found

    def _give(self, addresses: Sequence[str], *, gpu: bool) -> None:
        resources = {"GPU": 1} if gpu else {}
        for address in addresses:
            key = f"{_PREFIX}{uuid.uuid4()}"
            task = self._client.submit(*self._call, key=key, pure=False, resources=resources, workers=[address])
            self._tasks[task] = address


def is_full(worker: Mapping[str, Any], keys: Collection[str], gpu: bool, *, spare: int = 0) -> bool:
    """Return whether these tasks take up a worker, with `spare` tasks more than it has room for.

    Parameters
    ----------
    gpu : tasks of daemons take one
    """
    return len(keys) >= _n_threads(worker) + spare or (gpu and _n_of_daemons(keys) >= _n_gpus(worker) + spare)


def in_words(
    workers: Mapping[str, Mapping[str, Any]], busy: Mapping[str, Collection[str]], ours: Collection[str]
) -> str:
    """Return why there is no room for a further task.

    Parameters
    ----------
    ours : keys of the tasks that were given
    """
    if not workers:
        return "no worker has come yet"
    n_ours = sum(not set(ours).isdisjoint(busy.get(one, ())) for one in workers)
    others = [set(busy.get(one, ())) - set(ours) for one in workers]
    n_daemons = sum(_n_of_daemons(keys) > 0 for keys in others)
    n_programs = sum(bool(keys) for keys in others) - n_daemons
    counted = {"with this run": n_ours, "with other runs": n_daemons, "with other programs": n_programs}
    who = ", ".join(f"{n} {whom}" for whom, n in counted.items() if n)
    return f"the workers are busy: {who}" if who else "no worker is free"


def has_gpus(workers: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether any worker offers the resource GPU: then each task takes one."""
    return any(map(_n_gpus, workers.values()))


def places(
    workers: Mapping[str, Mapping[str, Any]],
    busy: Mapping[str, Collection[str]],
    ours: Sequence[str],
    n: int,
    *,
    shares: bool,
) -> Iterator[str]:
    """Yield the worker of each further task: only where one can start at once, and as few as possible on each.

    A task that waits behind another one would stay there when a worker comes that is free.

    Parameters
    ----------
    workers : what the scheduler says of each, by address
    busy : keys of the tasks that each has, of all that use the scheduler
    ours : the worker of each task that was given
    n : how many tasks there should be
    shares : whether a worker without GPUs may have more than one
    """
    gpu = has_gpus(workers)
    given, most = Counter(ours), sum(map(_n_threads, workers.values())) if gpu or shares else 1
    threads = {one: _n_threads(worker) - len(busy.get(one, ())) for one, worker in workers.items()}
    gpus = {one: _n_gpus(worker) - _n_of_daemons(busy.get(one, ())) for one, worker in workers.items()}
    for _ in range(n - len(ours)):
        free = [one for one in workers if given[one] < most and threads[one] > 0 and (gpus[one] > 0 or not gpu)]
        if not free:
            return
        best = min(free, key=lambda one: (given[one], -threads[one], one))
        given[best] += 1
        threads[best] -= 1
        gpus[best] -= 1
        yield best


def _n_threads(worker: Mapping[str, Any]) -> int:
    return int(worker["nthreads"])


def _n_gpus(worker: Mapping[str, Any]) -> int:
    return int(worker.get("resources", {}).get("GPU", 0))


def _n_of_daemons(keys: Collection[str]) -> int:
    return sum(str(key).startswith(_PREFIX) for key in keys)
