"""The tasks that a Dask cluster has for one run: each for a worker that is named, so that none waits behind another.

Left to itself, Dask gives the task of a worker that was lost to one that has a task already, and leaves it there when a
new worker comes: it moves waiting tasks only where it knows how long tasks take, and these take as long as the run.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

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

    def __len__(self) -> int:
        return len(self._tasks)

    def ended(self) -> list[Any]:
        """Return the tasks that have ended since the last call."""
        ended = [task for task in self._tasks if task.status != "pending"]
        for task in ended:
            del self._tasks[task]
        return ended

    def reach(self, n: int) -> None:
        """Withdraw the tasks of workers that have left; give others until there are `n`, as far as there is room."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        if self._workers != workers.keys():
            self._workers, self._changed_s = frozenset(workers), time.monotonic()
        for task in [task for task, address in self._tasks.items() if address not in workers]:
            task.cancel()
            del self._tasks[task]
        if n > len(self._tasks):
            shares = time.monotonic() - self._changed_s > SHARE_S
            busy = self._client.processing()
            self._give(list(places(workers, busy, list(self._tasks.values()), n, shares=shares)), gpu=has_gpus(workers))

    def _give(self, addresses: Sequence[str], *, gpu: bool) -> None:
        resources = {"GPU": 1} if gpu else {}
        for address in addresses:
            key = f"{_PREFIX}{uuid.uuid4()}"
            task = self._client.submit(*self._call, key=key, pure=False, resources=resources, workers=[address])
            self._tasks[task] = address


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
