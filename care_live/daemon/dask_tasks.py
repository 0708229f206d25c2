"""The tasks that a Dask cluster has for one run: each for a worker that is named, so that none waits behind another.

Left to itself, Dask gives the task of a worker that was lost to one that has a task already, and leaves it there when a
new worker comes: it moves waiting tasks only where it knows how long tasks take, and these take as long as the run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

SHARE_S = 30.0
"""Since a worker came or left: then one without GPUs may have several tasks, as many as its threads."""


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
            busy = {address: len(keys) for address, keys in self._client.processing().items()}
            self._give(list(places(workers, busy, list(self._tasks.values()), n, shares=shares)), gpu=has_gpus(workers))

    def _give(self, addresses: Sequence[str], *, gpu: bool) -> None:
        resources = {"GPU": 1} if gpu else {}
        for address in addresses:
            task = self._client.submit(*self._call, pure=False, resources=resources, workers=[address])
            self._tasks[task] = address


def has_gpus(workers: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether any worker offers the resource GPU: then each task takes one."""
    return any(worker.get("resources", {}).get("GPU") for worker in workers.values())


def places(
    workers: Mapping[str, Mapping[str, Any]], busy: Mapping[str, int], ours: Sequence[str], n: int, *, shares: bool
) -> Iterator[str]:
    """Yield the worker of each further task: only where one can start at once, and as few as possible on each.

    A task that waits behind another one would stay there when a worker comes that is free.

    Parameters
    ----------
    workers : what the scheduler says of each, by address
    busy : tasks that each has, of all that use the scheduler
    ours : the worker of each task that was given
    n : how many tasks there should be
    shares : whether a worker without GPUs may have more than one
    """
    gpu = has_gpus(workers)
    starts = {
        address: int(worker.get("resources", {}).get("GPU", 0)) if gpu else worker["nthreads"]
        for address, worker in workers.items()
    }
    most = max(starts.values(), default=0) if gpu or shares else 1
    given, taken = Counter(ours), Counter(busy)
    for _ in range(n - len(ours)):
        free = [one for one in workers if given[one] < min(most, starts[one]) and taken[one] < starts[one]]
        if not free:
            return
        best = min(free, key=lambda one: (given[one], taken[one], one))
        given[best] += 1
        taken[best] += 1
        yield best
