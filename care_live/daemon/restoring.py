"""The restoring stage: the worklist's jobs go through the network; results are published, then stored."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.in_order import InOrder
from care_live.daemon.inbox import Inbox, InboxClosed
from care_live.daemon.memory_budget import MemoryBudget
from care_live.daemon.policy import InMemory, Job
from care_live.daemon.readback import Stored
from care_live.daemon.run_metrics import Tally
from care_live.daemon.shed_volumes import ShedVolumes
from care_live.daemon.storing import StorageRecord
from care_live.daemon.volume_states import VolumeStates
from care_live.daemon.worker_group import WorkerGroup
from care_live.daemon.worklist import Turn, Worklist
from care_live.errors import CareLiveError, RestoreError, StageError, WorkerLostError
from care_live.images import ModelIdentity, NotRestored, Restored, Volume, VolumeKey
from care_live.publish.publisher import Publisher
from care_live.trust.references import References
from care_live.trust.run_verdict import in_run
from care_live.worker.client import RestoreProcess

logger = logging.getLogger(__name__)

_TRIES = 3
"""How often a volume that failed is tried, again from the store; where its workers were lost, as often once more, last:
it need not be the reason."""
_QUICK_LOSSES = 3
"""After more losses in a row the stage pauses before the next try, twice as long each time."""
LONGEST_REST_S = 30.0
_AHEAD = 2
"""Volumes that each worker may have taken behind the oldest one that is still being restored."""
_MOST_MOVES = 2
"""Workers that may be lost with one volume before it counts as failed."""
_ABSENT_S = 0.5
"""Between two looks whether another machine has come."""
_LONGEST_ALONE_S = 120.0
_MOST_LOSSES = 8
"""After more losses in a row, once the acquisition has ended, restoration ends."""


@dataclass(frozen=True, slots=True, eq=False)
class _Done:
    volumes: tuple[Volume, ...]
    results: tuple[Restored, ...]


@dataclass(slots=True)
class Restoring:
    """Runs until nothing is left to restore."""

    group: WorkerGroup
    publisher: Publisher
    storage: Inbox[StorageRecord]
    worklist: Worklist
    budget: MemoryBudget
    tally: Tally
    shed: ShedVolumes
    open_stored: Callable[[], Stored]
    """Late volumes are read from the run that is being written; called in each thread that reads."""
    publishing: Bulkhead
    full_wait_s: float
    """How long a restored volume may wait for a slow disk."""
    references: References
    states: VolumeStates
    channels: tuple[str, ...]
    """Of the run, by name."""
    _in_order: InOrder = field(default_factory=InOrder)
    _alone_since_s: float = field(default_factory=time.monotonic)
    _failures: Counter[VolumeKey] = field(default_factory=Counter)
    _models: dict[int, ModelIdentity] = field(default_factory=dict)
    """Which network restored last, by its number."""

    def work(self) -> None:
        """Let the workers take jobs until the work list has ended."""
        is_over = False
        while not is_over:
            self._serve_all()
            is_over = self.worklist.end()
        for turn in self.worklist.abandoned():
            self._pass_on(turn, RestoreError("its worker was lost, and the run was stopped before another one took it"))

    def _serve_all(self) -> None:
        """Let each worker take jobs, in a thread of its own where there are several."""
        workers = self.group.workers
        if len(workers) == 1:
            self._serve(workers[0])
        else:
            with ThreadPoolExecutor(len(workers), "care-live restore") as threads:
                ends = [threads.submit(self._serve, worker) for worker in workers]
            for end in ends:
                end.result()

    def _serve(self, worker: RestoreProcess) -> None:
        """Restore with one worker until nothing is left."""
        stored = self.open_stored()
        try:
            while (turn := self._next(worker)) is not None:
                self._release(turn)
                done = self._restored(worker, turn, stored)
                if not (isinstance(done, WorkerLostError) and self._moves(turn)):
                    self.worklist.finished(turn)
                    self._pass_on(turn, done)
                self._rest(worker)
        except BaseException:
            self.worklist.stop()
            raise

    def _next(self, worker: RestoreProcess) -> Turn | None:
        """Return the next job for a worker; while this one is being replaced, the others take what it had."""
        while self._is_missing(worker) and not self.worklist.await_end(0.0):
            if worker.supervisor.is_absent:
                self._await_machine()
                continue
            try:
                worker.revive()
            except RestoreError as error:
                logger.warning("worker not ready: %s", error)
                self._rest(worker)
        n_ahead = _AHEAD * len(self.group.workers)
        return self.worklist.next(partial(self.group.may_take, worker), n_ahead=n_ahead)

    def _is_missing(self, worker: RestoreProcess) -> bool:
        """Return whether a worker should take no job; one that is alone takes it, and waits until it has started."""
        return worker.supervisor.is_absent or (len(self.group.workers) > 1 and not worker.supervisor.is_ready)

    def _await_machine(self) -> None:
        """Wait a little for another machine.

        Raises
        ------
        StageError
            The acquisition has ended, and for long no worker at all has been ready.
        """
        now_s = time.monotonic()
        if any(worker.supervisor.is_ready for worker in self.group.workers) or not self.worklist.is_intake_over:
            self._alone_since_s = now_s
        if now_s - self._alone_since_s > _LONGEST_ALONE_S:
            raise StageError(
                f"no worker has been ready for {_LONGEST_ALONE_S:.0f} s; a start with --resume restores what is raw"
            )
        self.worklist.await_end(_ABSENT_S)

    def _moves(self, turn: Turn) -> bool:
        """Give a job whose worker was lost to another one; return whether one will take it."""
        if len(self.group.workers) == 1 or turn.n_moves >= _MOST_MOVES:
            return False
        self.group.swap.moves(turn.job.keys[0])
        return self.worklist.again(turn)

    def _restored(self, worker: RestoreProcess, turn: Turn, stored: Stored) -> _Done | Exception:
        """Run the network; an error there is a failure of the volume, not of the stage."""
        self.group.swap.taken(turn.job.keys[0])  # before anything fails: else a change of networks would wait for it
        try:
            job = turn.job
            volumes = job.volumes if isinstance(job, InMemory) else tuple(stored.raw(key) for key in job.keys)
            if self.group.measure(volumes):
                self.worklist.look_again()
            return _Done(volumes, self.group.restore(worker, volumes, stored=stored.raw_if_stored))
        except Exception as error:
            if not isinstance(error, CareLiveError):
                logger.exception("restoration failed unexpectedly")
            return error

    def _pass_on(self, turn: Turn, done: _Done | Exception) -> None:
        """Deliver a result, or report a failure, after those of the jobs that were taken before."""
        self._in_order.put(turn.number, partial(self._finish, turn.job, done))
        self.worklist.passed_on(self._in_order.n_passed_on)

    def _finish(self, job: Job, done: _Done | Exception) -> None:
        if isinstance(done, _Done):
            for restored in done.results:
                self._deliver(restored, live=isinstance(job, InMemory))
            self._publish_beside(done)
        else:
            self._fail(job, done)

    def _rest(self, worker: RestoreProcess) -> None:
        """Pause, and leave the processor to the acquisition, while a worker dies again and again.

        Raises
        ------
        StageError
            The acquisition has ended, and every worker still dies.
        """
        n, n_of_all = worker.supervisor.n_losses_in_a_row, self.group.n_losses_in_a_row
        if n_of_all > _MOST_LOSSES and self.worklist.is_intake_over:
            raise StageError(f"inference was lost {n} times in a row; a start with --resume restores what is raw")
        if n > _QUICK_LOSSES:
            self.worklist.pause(min(LONGEST_REST_S, 2.0 ** (n - _QUICK_LOSSES - 1)))

    def _release(self, turn: Turn) -> None:
        """Give the memory back before the network begins: raw volumes must not wait for it."""
        if isinstance(turn.job, InMemory) and not turn.n_moves:
            for volume in turn.job.volumes:
                self.budget.release(volume.key, volume.pixels.nbytes)

    def _deliver(self, restored: Restored, *, live: bool) -> None:
        restored = self.states.up_to_date(restored if live else replace(restored, flags=restored.flags | {"late"}))
        card = self.group.network_of(restored.model).card
        restored = in_run(restored, card, self.references, self.channels)
        self._describe(restored)
        with self.publishing:
            self.publisher.publish(restored, until_settled=True)
        age_ms = self.tally.restored(restored, self._channel_of(restored))
        _log(restored, age_ms)
        try:
            if not self.storage.put_second(restored, restored.nbytes, wait_s=self.full_wait_s):
                self._shed(restored, f"the disk is too slow for it, it waited {self.full_wait_s:g} s")
        except InboxClosed:
            self._shed(restored, "the store has ended")
            raise

    def _shed(self, restored: Restored, why: str) -> None:
        self.shed.add(restored, why)
        with self.publishing:
            self.publisher.settle(restored.key)

    def _channel_of(self, restored: Restored) -> str:
        c = restored.key.c
        return self.channels[c] if c < len(self.channels) else f"channel {c}"

    def _describe(self, restored: Restored) -> None:
        """Say which networks restore which channels, once each has restored, and whenever another one takes over."""
        group = self.worklist.channels.group_of(restored.sources[0])
        number = 0 if group is None else group.network
        if self._models.get(number) == restored.model:
            return
        self._models[number] = restored.model
        networks = self.group.in_use(self.worklist.channels, self._models)
        for network in networks:
            self.storage.put(network)
        with self.publishing:
            self.publisher.describe_networks(*networks)

    def _publish_beside(self, done: _Done) -> None:
        """Publish the raw volumes that no result carries: a network may read more channels than it gives."""
        carried = {restored.volume.key for restored in done.results}
        for volume in done.volumes:
            if volume.key not in carried:
                with self.publishing:
                    self.publisher.publish(volume)

    def _fail(self, job: Job, error: Exception) -> None:
        """Count a failure; the volume is tried again, later, from the store."""
        keys = job.keys
        self._failures.update(keys)
        for key in keys:
            note = NotRestored(key, "failed", str(error))
            self.tally.not_restored(note)
            self.storage.put(note)
            with self.publishing:
                self.publisher.skipped(note)
            logger.warning("restoration failed key=%s try=%d error=%s", tuple(key), self._failures[key], error)
        self._try_again(keys, is_lost=isinstance(error, WorkerLostError))

    def _try_again(self, keys: tuple[VolumeKey, ...], *, is_lost: bool) -> None:
        """Have volumes restored later, or, where their workers were lost each time, after all others; or give them up.

        A volume on which every worker dies must not hold up the others for ever; one that was hit by chance is not
        given up.
        """
        n_tries = max(self._failures[key] for key in keys)
        if n_tries < _TRIES:
            self.worklist.later(*keys)
        elif is_lost and n_tries < 2 * _TRIES:
            self.worklist.last(*keys)
        else:
            self.tally.add("unrestored", len(keys))


def _log(restored: Restored, age_ms: float) -> None:
    integrity = restored.volume.integrity
    logger.info(
        "volume restored t=%d p=%d c=%d planes=%d/%d state=%s age=%.0f ms inference=%.0f ms flags=%s trust=%s",
        *restored.key,
        len(integrity.received),
        len(integrity.expected),
        restored.volume.state,
        age_ms,
        restored.infer_s * 1e3,
        ",".join(sorted(restored.flags)) or "-",
        restored.trust or "-",
    )
