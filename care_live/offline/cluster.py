"""Time points restored by the workers of a Dask cluster: on this machine, or wherever a scheduler has them.

Dask places the work, and does it again elsewhere where a worker is lost; dashboards, TLS and queues are Dask's. Order,
journal and what counts as failed stay here, in one process.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from care_live.errors import CareLiveError, StageError
from care_live.images import VolumeKey
from care_live.imports import need
from care_live.maps import Head, folder_of
from care_live.offline.cluster_worker import (
    AskedNetwork,
    WorkerResult,
    WorkerTask,
    checksum_of,
    choose_for_all,
    restore_time_points,
)
from care_live.offline.computed_with import ComputedWith
from care_live.offline.handed_out import (
    Resources,
    TaskOutcome,
    UnitsDone,
    handed_out,
    resources_of,
    result_of_one,
    workers_of,
)
from care_live.offline.judged_results import references_of
from care_live.offline.run_output import RunSession, Step
from care_live.offline.settings import is_numbers, what_shapes_the_result
from care_live.offline.time_points import TimePoint
from care_live.recorded.run_records import RunBegan, StoredProduct
from care_live.restore.result_maps import ResultMaps
from care_live.store.shards import folder_of_position
from care_live.store.shared_writer import ImageExtent, SharedRunWriter, open_shared_run

if TYPE_CHECKING:  # they are opened elsewhere
    from care_live.offline.named_networks import Networks


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
        cards, sha256 = checksum_of(network.cards), network.identity.sha256
        self._asked = AskedNetwork(network.path.resolve(), sha256, self._config, camera, cards)

    def restore(self, session: RunSession, left: Sequence[TimePoint], step: Step) -> None:
        """Restore and store these time points.

        Raises
        ------
        StageError
            The scheduler is gone, or its workers die.
        """
        with _our_errors(self._client):
            chosen = self._chosen(session)
            session.go_on_with(chosen.versions)
            order = _ReferenceOrder(self._client, session)
            writer = open_shared_run(session.job.started(chosen), session.claim)
            tasks = self._tasks(session, writer, left, chosen)
            with contextlib.closing(handed_out(self._client, order, tasks)) as outcomes:
                for together, outcome in outcomes:
                    for task, result in zip(together, order.results(together, outcome), strict=True):
                        _take(session, writer, task.time_point, result)
                        step()
        writer.remove_unused_images()
        session.end(writer)

    def choose(self, dtype: str) -> ComputedWith:
        """Let one worker choose for all, since another provider gives other last bits.

        Raises
        ------
        StageError
            The scheduler is gone, or its workers die.
        """
        with _our_errors(self._client):
            return self._ask(dtype, None)

    def _chosen(self, session: RunSession) -> ComputedWith:
        """Return what computes a run, with the versions on a worker."""
        before = session.computed_with
        return before if before is not None and before.versions else self._ask(session.job.dtype, before)

    def _ask(self, dtype: str, before: ComputedWith | None) -> ComputedWith:
        resources = resources_of(workers_of(self._client))
        ask = partial(self._client.submit, choose_for_all, self._asked, dtype, before, pure=False, resources=resources)
        chosen: ComputedWith = result_of_one(self._client, ask, resources)
        return chosen

    def _tasks(
        self, session: RunSession, writer: SharedRunWriter, left: Sequence[TimePoint], chosen: ComputedWith
    ) -> Iterator[WorkerTask]:
        """Yield what workers are to do; the images of a position are made before its first task."""
        job, stored, p_made = session.job, frozenset(writer.raw_keys()), -1
        began, run = RunBegan.of(job.started(chosen), care_live="", at_us=0), writer.shared
        for time_point in left:
            if time_point.p != p_made:
                writer.make_images(_extents(session, self._network, time_point.p))
                p_made = time_point.p
            yield WorkerTask(
                asked=self._asked,
                computed_with=chosen,
                source=job.source if isinstance(job.source, str) else job.source.resolve(),
                axes=job.provenance["settings"]["axes"],
                run=run,
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
        self._resources: Resources = {}

    def joins(self, one: WorkerTask, following: WorkerTask) -> bool:
        """Tell whether one task may restore both: what has references goes alone, since others wait for it."""
        alone = any(self._time_points.has_reference(task.time_point) for task in (one, following))
        return one.time_point.p == following.time_point.p and not alone

    def submit(self, tasks: Sequence[Sequence[WorkerTask]], resources: Resources) -> list[Any]:
        """Return the futures of time points, of one task or several."""
        self._resources = resources
        futures: list[Any] = []
        for shown, alike in itertools.groupby(tasks, lambda one: self._time_points.has_reference(one[0].time_point)):
            for some in ([one] for one in alike) if shown else [list(alike)]:
                futures += self._submit(some, priority=int(shown))
        return futures

    def begin_anew(self) -> None:
        """Let time points that are handed out again wait for new futures, or for what is known here."""
        self._newest.clear()

    def _submit(self, tasks: Sequence[Sequence[WorkerTask]], *, priority: int) -> list[Any]:
        before = [self._newest.get(together[0].time_point.p) for together in tasks]
        futures = self._submitted(tasks, before, priority=priority)
        if priority:  # the next ones of its position wait for it
            self._newest |= {one[0].time_point.p: future for one, future in zip(tasks, futures, strict=True)}
        return futures

    def _submitted(
        self, tasks: Sequence[Sequence[WorkerTask]], before: Sequence[Any], *, priority: int = 0
    ) -> list[Any]:
        known = [[replace(task, known=self.known) for task in together] for together in tasks]
        options = {"pure": False, "resources": self._resources, "priority": priority}
        futures: list[Any] = self._client.map(restore_time_points, known, list(before), **options)
        return futures

    def results(self, together: Sequence[WorkerTask], outcome: TaskOutcome[WorkerTask]) -> Sequence[WorkerResult]:
        """Return what became of the time points of a task.

        Workers that died of one time point took with them what they were to do next. So all time points of a task that
        is lost that way are tried once more, one after the other.
        """
        killed = need("distributed.scheduler", extra="cluster").KilledWorker
        p = together[0].time_point.p
        try:
            results: Sequence[WorkerResult] = outcome.result().results
        except CareLiveError:
            raise
        except killed:  # Dask tried it on several workers, each of which died of it, or with it
            results = [self._once_more(task, killed) for task in together]
        if self._newest.get(p) is outcome.future:  # those that come now need not wait for it
            del self._newest[p]
        for result in results:
            self._note(result)
        return results

    def _once_more(self, task: WorkerTask, killed: type[Exception]) -> WorkerResult:
        """Try a time point alone; what those before it, of its position, have shown is known here."""
        try:
            done: UnitsDone = result_of_one(self._client, lambda: self._submitted([[task]], [None])[0], self._resources)
        except killed as error:
            return WorkerResult((), (), f"workers died while they restored it: {error}")
        result: WorkerResult = done.results[0]
        self._note(result)
        return result

    def _note(self, result: WorkerResult) -> None:
        self.known = {**self.known, **result.known}


@contextlib.contextmanager
def _our_errors(client: Any) -> Iterator[None]:
    """Turn what Dask raises of a scheduler that is gone, or of workers that die, into a StageError."""
    killed = need("distributed.scheduler", extra="cluster").KilledWorker
    closed = need("distributed.comm", extra="cluster").CommClosedError  # the client itself may notice it later
    lost = (closed, CancelledError)  # the latter where a scheduler lost again and again what it was given
    try:
        yield
    except CareLiveError:
        raise
    except killed as error:  # those that die of a time point are counted where it is taken
        raise StageError(f"workers died while they opened the network: {error}") from error
    except Exception as error:
        if client.status == "running" and not isinstance(error, lost):
            raise
        raise StageError(
            f"the Dask scheduler is gone ({type(error).__name__}); what is stored stays: start a scheduler, and give "
            "the same command again"
        ) from error


def _take(session: RunSession, writer: SharedRunWriter, time_point: TimePoint, result: WorkerResult) -> None:
    if result.error:
        session.outcome.failed[time_point] = result.error
        return
    session.outcome.remarks += [line for line in result.remarks if line not in session.outcome.remarks]
    for network in result.networks:
        writer.describe_network(network)
    for written in result.written:
        writer.adopt(written)
    flags = {flag for written in result.written for flag in getattr(written.record, "flags", ())}
    session.done(flags)


def _extents(session: RunSession, network: Networks, p: int) -> dict[tuple[StoredProduct, int], ImageExtent]:
    """Return how large each image of a position will be, so that no worker changes the metadata of an array."""
    plan, times = session.job.recording.contents.plan, session.time_points.at[p]
    keys = [key for one in times for key in session.time_points.keys(one)]
    stored = [key for one in times for key in session.time_points.keys_with_references(one)]
    depths = [len(plan.stacks[key]) for key in stored]
    n_channels = max(key.c for key in stored) + 1
    raw = ImageExtent(times[-1].t + 1, n_channels, (max(depths), *plan.shape_px), max(depths), plan.dtype)
    made = _made(session, network, keys)
    extents: dict[tuple[StoredProduct, int], ImageExtent] = {
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
