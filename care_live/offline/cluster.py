"""Time points restored by the workers of a Dask cluster: on this machine, or wherever a scheduler has them.

Dask places the work, and does it again elsewhere where a worker is lost; dashboards, TLS and queues are Dask's. Order,
journal and what counts as failed stay here, in one process.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from care_live.errors import CareLiveError, ConfigError, StageError
from care_live.images import VolumeKey
from care_live.imports import need
from care_live.maps import Head, folder_of
from care_live.offline.cluster_worker import AskedNetwork, WorkerResult, WorkerTask, choose_for_all, restore_time_point
from care_live.offline.computed_with import ComputedWith
from care_live.offline.judged_results import references_of
from care_live.offline.run_output import RunSession, Step
from care_live.offline.settings import is_numbers, what_shapes_the_result
from care_live.offline.time_points import TimePoint
from care_live.recorded.run_records import Product, RunBegan
from care_live.restore.result_maps import ResultMaps
from care_live.store.shards import folder_of_position
from care_live.store.shared_writer import ImageExtent, SharedRunWriter, open_shared_run

if TYPE_CHECKING:  # they are opened elsewhere
    from care_live.offline.named_networks import Networks

AHEAD = 4
"""Time points that each worker may be ahead of the oldest one that is not acknowledged yet."""
CONNECT_S = 60
ANSWER_S = 20
"""So long a scheduler that was there may be away."""
_LOOK_S = 0.1
_COUNT_S = 1.0
"""Between two looks at how many workers there are."""
_QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "2s",
}
"""What Dask notes of itself 100 times a second takes 2 % of a core in each process; units that last a second need none
of it."""

Task = TypeVar("Task")


@contextlib.contextmanager
def connect(workers: int | str | Path) -> Iterator[Any]:
    """Give a client of Dask: of own workers on this machine, or of a scheduler that runs.

    Parameters
    ----------
    workers : number of processes to start here, a scheduler's address such as ``tcp://head:8786``, or the JSON file
        that ``dask scheduler --scheduler-file`` writes

    Raises
    ------
    ConfigError
        The extra is not installed, or no scheduler or no worker answers.
    """
    distributed = need("distributed", extra="cluster")
    with contextlib.ExitStack() as opened:
        try:
            address = opened.enter_context(_here(distributed, workers)) if isinstance(workers, int) else _there(workers)
            client = opened.enter_context(distributed.Client(address, timeout=ANSWER_S))
            client.wait_for_workers(1, timeout=CONNECT_S)
        except (OSError, TimeoutError, ValueError, KeyError) as error:
            raise ConfigError(f"no Dask worker answers at {workers}: {error}") from error
        yield client


class ClusterRestorer:
    """Has workers restore and write; acknowledges what they have written, in order.

    Parameters
    ----------
    network : which they open, too
    client : of Dask, see `connect`
    own_workers : workers on this machine, which share its cores; 0: they have machines of their own
    """

    def __init__(self, network: Networks, client: Any, *, own_workers: int = 0) -> None:
        self._network, self._client = network, client
        self._config = network.config
        if own_workers and not self._config.threads:
            n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            self._config = self._config.model_copy(update={"threads": max(1, n_cores // own_workers)})
        camera = what_shapes_the_result(self._config)["camera"]
        self._asked = AskedNetwork(network.path.resolve(), network.identity.sha256, self._config, camera)

    def restore(self, session: RunSession, left: Sequence[TimePoint], step: Step) -> None:
        """Restore and store these time points.

        Raises
        ------
        StageError
            The scheduler is gone.
        """
        try:
            chosen = session.computed_with or self.choose(session.job.dtype)
            order = _ReferenceOrder(self._client, session)
            writer = open_shared_run(session.job.started(chosen), session.claim)
            tasks = self._tasks(session, writer, left, chosen)
            with contextlib.closing(handed_out(self._client, order.submit, tasks)) as results:
                for task, future in results:
                    _take(session, writer, task.time_point, order.result(task, future))
                    step()
        except CareLiveError:
            raise
        except Exception as error:
            if self._client.status == "running":
                raise
            raise StageError(
                f"the Dask scheduler is gone ({type(error).__name__}); what is stored stays: start a scheduler, and "
                "give the same command again"
            ) from error
        writer.remove_unused_images()
        session.end(writer)

    def choose(self, dtype: str) -> ComputedWith:
        """Let one worker choose for all, since another provider gives other last bits."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        task = self._client.submit(choose_for_all, self._asked, dtype, pure=False, resources=_resources(workers))
        chosen: ComputedWith = task.result()
        return chosen

    def _tasks(
        self, session: RunSession, writer: SharedRunWriter, left: Sequence[TimePoint], chosen: ComputedWith
    ) -> Iterator[WorkerTask]:
        """Yield what workers are to do; the images of a position are made before its first task."""
        job, stored, p_made = session.job, frozenset(writer.raw_keys()), -1
        began = RunBegan.of(job.started(chosen), care_live="", at_us=0)
        for time_point in left:
            if time_point.p != p_made:
                writer.make_images(_extents(session, self._network, time_point.p))
                p_made = time_point.p
            yield WorkerTask(
                asked=self._asked,
                computed_with=chosen,
                source=job.source if isinstance(job.source, str) else job.source.resolve(),
                axes=job.provenance["settings"]["axes"],
                run=job.target.resolve(),
                run_id=job.run_id,
                time_point=time_point,
                folder=folder_of_position(began, time_point.p),
                keep_raw=job.keep_raw,
                stored=stored.intersection(session.time_points.keys_with_references(time_point)),
            )


class _ReferenceOrder:
    """Lets each time point wait for the newest one before it, of its position, that has reference planes.

    What references show widens the intervals of all volumes behind them. Those that have some go first, so that few
    wait.
    """

    def __init__(self, client: Any, session: RunSession) -> None:
        self._client, self._time_points = client, session.time_points
        self.known = references_of(session.job.recording.contents.plan, session.claim.ledger).known
        """By the results that were asked for so far, which is done in order."""
        self._newest: dict[int, Any] = {}
        """By position: the future of the newest time point with references, until its result is known here."""
        self._waits_for: dict[TimePoint, Any] = {}
        self._resources: Mapping[str, int] = {}

    def submit(self, task: WorkerTask, resources: Mapping[str, int]) -> Any:
        """Return the future of a time point."""
        p, has_reference = task.time_point.p, self._time_points.has_reference(task.time_point)
        before, self._resources = self._newest.get(p), resources
        future = self._submitted(task, before, priority=int(has_reference))
        if before is not None:
            self._waits_for[task.time_point] = before
        if has_reference:
            self._newest[p] = future
        return future

    def _submitted(self, task: WorkerTask, before: Any, *, priority: int = 0) -> Any:
        task = replace(task, known=self.known)
        options = {"pure": False, "resources": self._resources, "priority": priority}
        return self._client.submit(restore_time_point, task, before, **options)

    def result(self, task: WorkerTask, future: Any) -> WorkerResult:
        """Return what became of a time point."""
        killed = need("distributed.scheduler", extra="cluster").KilledWorker
        before = self._waits_for.pop(task.time_point, None)
        if self._newest.get(task.time_point.p) is future:  # those that come now need not wait for it
            del self._newest[task.time_point.p]
        try:
            result: WorkerResult = future.result()
        except CareLiveError:
            raise
        except killed as error:  # Dask tried it on several workers, each of which died of it, or with it
            if before is not None and before.status == "error":  # they died of what it waited for
                return self.result(task, self._submitted(task, None))
            result = WorkerResult((), (), f"workers died while they restored it: {error}")
        self.known = {**self.known, **result.known}
        return result


def _take(session: RunSession, writer: SharedRunWriter, time_point: TimePoint, result: WorkerResult) -> None:
    if result.error:
        session.outcome.failed[time_point] = result.error
        return
    for network in result.networks:
        writer.describe_network(network)
    for written in result.written:
        writer.adopt(written)
    flags = {flag for written in result.written for flag in getattr(written.record, "flags", ())}
    session.done(flags)


def submitting(client: Any, work: Callable[[Task], Any]) -> Callable[[Task, Mapping[str, int]], Any]:
    """Return how tasks are submitted that wait for no other one."""
    return lambda task, resources: client.submit(work, task, pure=False, resources=resources)


def handed_out(
    client: Any, submit: Callable[[Task, Mapping[str, int]], Any], tasks: Iterator[Task]
) -> Generator[tuple[Task, Any], None, None]:
    """Hand out tasks, few ahead of the oldest one whose result is not taken yet; yield each with its future, in order.

    What is still on its way when the generator is closed is cancelled.

    Parameters
    ----------
    client : of Dask, see `connect`
    submit : returns the future of a task that takes up some resources
    """
    waiting: deque[tuple[Task, Any]] = deque()
    looked_s, workers = -math.inf, []
    try:
        while True:
            if time.monotonic() - looked_s > _COUNT_S:  # each look asks the scheduler
                workers = list(client.scheduler_info(n_workers=-1)["workers"].values())
                looked_s = time.monotonic()
            for task in itertools.islice(tasks, max(0, AHEAD * max(1, len(workers)) - len(waiting))):
                waiting.append((task, submit(task, _resources(workers))))
            if not waiting:
                return
            yield waiting.popleft()
    finally:
        with contextlib.suppress(Exception):  # a scheduler that is gone has nothing to cancel
            client.cancel([future for _, future in waiting])


def _resources(workers: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return what a task takes up: a GPU, where workers were started with ``--resources GPU=1``."""
    return {"GPU": 1} if any(worker.get("resources", {}).get("GPU") for worker in workers) else {}


@contextlib.contextmanager
def _here(distributed: Any, workers: int) -> Iterator[str]:
    with need("dask.config", extra="cluster").set(_QUIET):
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50
        )
        with cluster:
            yield cluster.scheduler_address


def _there(workers: str | Path) -> str:
    """Return the address of a scheduler that answers; one that is being started is waited for."""
    deadline = time.monotonic() + CONNECT_S
    while True:
        try:
            address = str(workers) if "://" in str(workers) else _address_in(Path(workers))
            place = urlsplit(address)
            with socket.create_connection((place.hostname, place.port), timeout=CONNECT_S):
                return address
        except (OSError, ValueError, KeyError):
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_S)


def _address_in(file: Path) -> str:
    return str(msgspec.json.decode(file.read_bytes(), type=dict[str, Any])["address"])


def _extents(session: RunSession, network: Networks, p: int) -> dict[tuple[Product, int], ImageExtent]:
    """Return how large each image of a position will be, so that no worker changes the metadata of an array."""
    plan, times = session.job.recording.contents.plan, session.time_points.at[p]
    keys = [key for one in times for key in session.time_points.keys(one)]
    stored = [key for one in times for key in session.time_points.keys_with_references(one)]
    depths = [len(plan.stacks[key]) for key in stored]
    n_channels = max(key.c for key in stored) + 1
    raw = ImageExtent(times[-1].t + 1, n_channels, (max(depths), *plan.shape_px), max(depths), plan.dtype)
    made = _made(session, network, keys)
    extents: dict[tuple[Product, int], ImageExtent] = {
        (folder_of(head), p): _restored_extent(raw, of) for head, of in made.items()
    }
    return extents | ({("raw", p): raw} if session.job.keep_raw else {})


class _MadeMap(NamedTuple):
    """What one volume gives of one map."""

    shape: tuple[int, int, int]
    last_channel: int


def _made(session: RunSession, network: Networks, keys: Sequence[VolumeKey]) -> dict[Head, list[_MadeMap]]:
    """Return what networks make of volumes, by map."""
    plan, channels = session.job.recording.contents.plan, session.job.channels
    results = [ResultMaps.of(card, network.config, numbers=is_numbers(plan.dtype)) for card in network.cards]
    made: dict[Head, list[_MadeMap]] = {}
    for key in keys:
        if (group := channels.group_of(key)) is None:
            continue
        last = max(group.outputs(len(network.cards[group.network].channels_out)))
        for head, shape in results[group.network].shapes((len(plan.stacks[key]), *plan.shape_px)).items():
            made.setdefault(head, []).append(_MadeMap(shape[1:], last))
    return made


def _restored_extent(raw: ImageExtent, made: Sequence[_MadeMap]) -> ImageExtent:
    n_channels = max(one.last_channel for one in made) + 1
    depth = max(one.shape[0] for one in made)
    return replace(raw, n_channels=n_channels, first_shape=made[0].shape, depth=depth, dtype="float32")
