"""Units of work handed out to Dask's workers, few ahead of the oldest one not taken yet, and taken back in order.

What scheduler, client and worker do for a task, some milliseconds, does not depend on what is in it. So units that are
short go several to a task, as many as take about a second; longer ones go alone, as a lost worker costs a task.
Messages are saved, too: tasks that may be handed out at the same moment go in one, and what was done meanwhile comes
in one.

A scheduler that is started again at the same address knows nothing of what the one before had: all that is on its way
is handed out once more.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from care_live.offline import dask_client

logger = logging.getLogger(__name__)

AHEAD = 4
"""Tasks that each worker may be ahead of the oldest one that is not taken yet."""
TASK_S = 1.0
"""Units that are shorter share a task up to this."""
MOST_TOGETHER = 64
ABSENT_S = 10.0
"""So long a task may take before it is looked whether any worker is left; then again."""
_COUNT_S = 1.0
"""Between two looks at how many workers there are."""
_LOOK_S = 0.1
"""Between two looks whether a scheduler is back."""
MOST_LOSSES = 5
"""Schedulers that may be lost in a row, before any of them has brought a result."""

Unit = TypeVar("Unit")
_Given_contra = TypeVar("_Given_contra", contravariant=True)
Resources: TypeAlias = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class UnitsDone:
    """What one task brings."""

    results: tuple[Any, ...]
    """Of each of its units."""
    took_s: float
    """All of them together."""


def do_units(work: Callable[[Unit], Any], units: Sequence[Unit]) -> UnitsDone:
    """Do the units of one task, on a worker."""
    begun_s = time.perf_counter()
    results = tuple(work(unit) for unit in units)
    return UnitsDone(results, time.perf_counter() - begun_s)


@dataclass(slots=True, eq=False)
class TaskOutcome(Generic[Unit]):
    """What becomes of a task."""

    units: tuple[Unit, ...]
    on_the_way: _OnTheWay[Unit]
    future: Any = None
    resources: Resources = field(default_factory=dict)
    """What its task takes up."""
    done: UnitsDone | None = None
    """What it has brought, where that is here already."""

    def result(self) -> UnitsDone:
        """Return what it brings, or raise what it raised; wait for it where it is still on its way."""
        while self.done is None:
            try:
                self.done = result_of(self.future, self.resources)
            except CancelledError as error:
                self.on_the_way.begin_anew(self, error)
        self.on_the_way.n_losses = 0
        return self.done


class Submitter(Protocol[_Given_contra]):
    """How units become tasks of Dask."""

    def joins(self, one: _Given_contra, following: _Given_contra) -> bool:
        """Tell whether two units may be done by one task."""

    def submit(self, tasks: Sequence[Sequence[_Given_contra]], resources: Resources) -> Sequence[Any]:
        """Return the future of each task, of a `UnitsDone`; each takes up these resources."""

    def begin_anew(self) -> None:
        """Forget all futures: their scheduler is gone, and what is not taken yet is submitted once more, in order."""


@dataclass(slots=True, eq=False)
class _OnTheWay(Generic[Unit]):
    """Tasks that are handed out and not taken yet, in order."""

    client: Any
    submitter: Submitter[Unit]
    waiting: deque[TaskOutcome[Unit]] = field(default_factory=deque)
    n_losses: int = 0
    """Schedulers that were lost since the last result."""

    def hand_out(self, tasks: Iterable[tuple[Unit, ...]], resources: Resources) -> None:
        handed = [TaskOutcome(units, self) for units in tasks]
        self.waiting.extend(handed)
        try:
            self._submit(handed, resources)
        except CancelledError as error:  # what they wait for was on its way to a scheduler that is gone
            self.begin_anew(None, error)

    def begin_anew(self, first: TaskOutcome[Unit] | None, error: CancelledError) -> None:
        """Hand out all once more, to the scheduler that has taken the place of a lost one.

        Parameters
        ----------
        first : what is being taken, and waits no more
        error : what Dask raised, which is raised once more where no scheduler comes, or each is lost
        """
        every = [*([] if first is None else [first]), *self.waiting]
        while True:
            self.n_losses += 1
            await_scheduler(self.client, error, n_losses=self.n_losses)
            self.submitter.begin_anew()
            try:
                self._submit(every, resources_of(workers_of(self.client)))
            except CancelledError as again:
                error = again
            else:
                return

    def _submit(self, handed: Sequence[TaskOutcome[Unit]], resources: Resources) -> None:
        futures = self.submitter.submit([one.units for one in handed], resources)
        for outcome, future in zip(handed, futures, strict=True):
            outcome.future, outcome.resources = future, resources


def handed_out(
    client: Any, submitter: Submitter[Unit], units: Iterator[Unit]
) -> Generator[tuple[tuple[Unit, ...], TaskOutcome[Unit]], None, None]:
    """Hand out units; yield those of each task with what became of it, in order.

    What is still on its way when the generator is closed is cancelled.

    Parameters
    ----------
    client : of Dask
    """
    on_the_way = _OnTheWay(client, submitter)
    waiting = on_the_way.waiting
    looked_s, workers, pace = -math.inf, [], _Pace()
    tasks = _tasks(units, submitter, pace)
    try:
        while True:
            if time.monotonic() - looked_s > _COUNT_S:  # each look asks the scheduler
                workers = workers_of(client)
                looked_s = time.monotonic()
            n_free = AHEAD * max(1, len(workers)) - len(waiting)
            if due := list(itertools.islice(tasks, max(0, n_free))):
                on_the_way.hand_out(due, resources_of(workers))
            if not waiting:
                return
            for outcome in _oldest(client, waiting):
                yield outcome.units, outcome
                pace.learn(outcome.done)
    finally:
        with contextlib.suppress(Exception):  # a scheduler that is gone has nothing to cancel
            client.cancel([outcome.future for outcome in waiting])


@dataclass(slots=True)
class _Pace:
    """How many units share a task."""

    n_together: int = 1

    def learn(self, done: UnitsDone | None) -> None:
        """Go by how long the last units took; twice as many as before at most."""
        if done is not None:
            fitting = TASK_S * len(done.results) / max(done.took_s, 1e-6)
            self.n_together = int(max(1, min(fitting, 2 * self.n_together, MOST_TOGETHER)))


def _tasks(units: Iterator[Unit], submitter: Submitter[Unit], pace: _Pace) -> Iterator[tuple[Unit, ...]]:
    task: list[Unit] = []
    for unit in units:
        if task and (len(task) >= pace.n_together or not submitter.joins(task[-1], unit)):
            yield tuple(task)
            task = []
        task.append(unit)
    if task:
        yield tuple(task)


def _oldest(client: Any, waiting: deque[TaskOutcome[Unit]]) -> Iterator[TaskOutcome[Unit]]:
    """Take the oldest task, done or not, and those behind it that are done."""
    done = list(itertools.takewhile(lambda one: one.future.status == "finished", waiting))
    if len(done) < 2:
        yield waiting.popleft()
        return
    futures = [outcome.future for outcome in done]
    brought: list[UnitsDone | None] = [None]  # the oldest alone, whose result says what has become of it
    with contextlib.suppress(Exception):  # results that were lost with their worker are made again, and that may fail
        brought = client.sync(lambda: client.gather(futures, asynchronous=True), callback_timeout=ABSENT_S)
    for one in brought:
        outcome = waiting.popleft()
        outcome.done = one
        yield outcome


def result_of_one(client: Any, submit: Callable[[], Any], resources: Resources) -> Any:
    """Return what a task of Dask brings that shares nothing with others, or raise what it raised.

    Parameters
    ----------
    submit : hands it out, and returns its future; called once more where a scheduler was lost with it
    resources : what it takes up
    """
    n_losses = 0
    while True:
        try:
            return result_of(submit(), resources)
        except CancelledError as error:
            n_losses += 1
            await_scheduler(client, error, n_losses=n_losses)


def await_scheduler(client: Any, error: CancelledError, *, n_losses: int) -> None:
    """Wait until a client that lost its scheduler has one again; say so.

    Parameters
    ----------
    error : raised where none comes in time, or after too many losses in a row
    """
    begun_s = time.monotonic()
    while client.status == "connecting" and time.monotonic() - begun_s < dask_client.ANSWER_S:
        time.sleep(_LOOK_S)
    if client.status != "running" or n_losses > MOST_LOSSES:
        raise error
    logger.warning(
        "the Dask scheduler %s lost what it was given, as one that is started again does: it is given once more",
        client.scheduler.address,
    )


def result_of(future: Any, resources: Resources) -> Any:
    """Return what a task of Dask brings, or raise what it raised; where no worker may do it, say so and wait."""
    absent = False
    while True:
        try:
            result = future.result(timeout=ABSENT_S)
        except TimeoutError:
            if future.status == "error":  # perhaps this very one
                return future.result()
            absent = _look_for_workers(future.client, resources, absent=absent)
        else:
            if absent:
                _say_that_workers_are_back(future.client)
            return result


def _look_for_workers(client: Any, resources: Resources, *, absent: bool) -> bool:
    """Return whether there is no worker with these resources; say it where that has changed."""
    if client.status != "running":
        return absent
    are_there = any(all(_has(worker, name) for name in resources) for worker in workers_of(client))
    if are_there and absent:
        _say_that_workers_are_back(client)
    elif not (are_there or absent):
        kind = f"worker with {' and '.join(resources)}" if resources else "worker"
        logger.warning(
            "no %s is left at the Dask scheduler %s: work waits until one comes", kind, client.scheduler.address
        )
    return not are_there


def _has(worker: Mapping[str, Any], resource: str) -> bool:
    return bool(worker.get("resources", {}).get(resource))


def _say_that_workers_are_back(client: Any) -> None:
    logger.warning("the Dask scheduler %s has a worker again: work goes on", client.scheduler.address)


def workers_of(client: Any) -> list[Mapping[str, Any]]:
    """Return what the scheduler says of each worker; where it does not answer, say so and ask again.

    Raises
    ------
    OSError
        The client has lost it, and no other one has come in time.
    """
    silent, connected_s = False, time.monotonic()
    while True:
        try:
            state = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=ABSENT_S)
        except OSError:  # what waits for too long, too
            if client.status == "running":
                connected_s = time.monotonic()
            elif client.status != "connecting" or time.monotonic() - connected_s > dask_client.ANSWER_S:
                raise
            if not silent:
                address = client.scheduler.address
                logger.warning("the Dask scheduler %s does not answer: work waits until it does", address)
            silent = True
            time.sleep(_LOOK_S)
        else:
            if silent:
                logger.warning("the Dask scheduler %s answers again: work goes on", client.scheduler.address)
            return list(state["workers"].values())


def resources_of(workers: Iterable[Mapping[str, Any]]) -> Resources:
    """Return what a task takes up: a GPU, where workers were started with ``--resources GPU=1``."""
    return {"GPU": 1} if any(_has(worker, "GPU") for worker in workers) else {}
