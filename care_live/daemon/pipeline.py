"""The stages of a run, wired: intake (source, assemble) → store, and → restore → publish, store.

Raw goes to the store before anything else and never waits for the restorer; the restorer takes what the
`Schedule` gives it. The daemon starts, drains and stops these stages; each ends by itself when its input has.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from care_live.assemble import Assembler
from care_live.config import Config
from care_live.daemon.inbox import Closed, Inbox
from care_live.daemon.memory import Ledger
from care_live.daemon.schedule import Job, Live, Schedule, Skipped
from care_live.daemon.stage import Stage
from care_live.daemon.stored import Stored
from care_live.daemon.tally import Tally
from care_live.errors import RestoreError, StoreError
from care_live.images import (
    FrameDropped,
    NotRestored,
    PlanePlaced,
    Restored,
    RunEnded,
    RunStarted,
    SourceEvent,
    StateChanged,
    Volume,
    VolumeKey,
    VolumeOpened,
    VolumeRefused,
)
from care_live.publish.publisher import Publisher
from care_live.restore.process import RestoreProcess
from care_live.source import Source
from care_live.store import RunWriter

logger = logging.getLogger(__name__)

Record: TypeAlias = Volume | Restored | StateChanged | NotRestored | RunEnded
"""What the store keeps."""

_TRIES = 3
"""How often a volume that failed is tried again, from the store."""
_DISK_PATIENCE_S = 600.0
"""How long a raw volume waits for a full disk to be freed before the run stops."""
_DISK_RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Rooms:
    """The open ends of the pipeline, one a room."""

    source: Source
    writer: RunWriter
    restorer: RestoreProcess
    publisher: Publisher


class Pipeline:
    """Three threads and what flows between them.

    Parameters
    ----------
    config : Config
    rooms : Rooms
        Already open; the daemon closes them.
    tally : Tally
    on_failure : callable
        Told of the error that ended a stage, in that stage's thread.
    """

    def __init__(
        self, config: Config, rooms: Rooms, tally: Tally, *, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._config, self._rooms, self._tally = config, rooms, tally
        limit_bytes = config.assemble.memory_mib * 2**20
        self._ledger = Ledger(limit_bytes)
        self._assembler = Assembler(config.assemble, admit=self._ledger.admit)
        self._storage: Inbox[Record] = Inbox("store", limit_bytes)
        self._schedule = Schedule(config.restore.policy, config.restore.nth, len(rooms.restorer.card.channels_in))
        self._wanted = threading.Condition()  # guards the schedule and the three flags below
        self._intake_over = False
        self._draining = False
        self._stopping = False
        self._states: dict[VolumeKey, StateChanged] = {}
        self._failures: dict[VolumeKey, int] = {}
        self._stored = Stored(rooms.writer.path)  # of the restoring stage
        self._have = frozenset(rooms.writer.raw_keys())  # of an earlier session
        self.ended = RunEnded("failed", "the source said no more")
        """How the acquisition ended; what stands here now holds when the intake fails."""
        self.intake = Stage("intake", self._take_in, on_failure)
        self.storing = Stage("store", self._store, on_failure)
        self.restoring = Stage("restore", self._restore, on_failure)

    # -- start, drain, stop: called by the daemon -------------------------------------------------------------

    def start(self, started: RunStarted) -> None:
        """Queue what an earlier session left raw-only, and start the stages."""
        self._assembler.take(started)
        for key in self._rooms.writer.raw_only():
            self._schedule.later(key)
            self._schedule.stored(key)
        for stage in (self.storing, self.restoring, self.intake):
            stage.start()

    def drain(self) -> None:
        """Finish what is on its way, leave the rest for the next start."""
        with self._wanted:
            self._draining = True
            self._wanted.notify_all()

    def stop(self) -> None:
        """Restore nothing more; raw volumes that wait are still written."""
        with self._wanted:
            self._stopping = True
            self._wanted.notify_all()

    def close_storage(self) -> None:
        """No record will come any more; the storing stage ends when it has written what waits."""
        self._storage.close()

    def refresh(self) -> None:
        """Copy the queues' and the assembler's figures into the tally."""
        counts = self._assembler.counts
        with self._wanted:
            waiting, later = self._schedule.n_waiting, self._schedule.n_later
        self._tally.set(
            planned_planes=counts.planned,
            received_planes=counts.received,
            lost_planes=counts.lost,
            refused_volumes=counts.refused_volumes,
            refused_planes=counts.skipped,
            dropped_planes=dict(counts.dropped or {}),
            waiting_volumes=waiting,
            waiting_later=later,
            waiting_bytes=self._ledger.used_bytes,
            restarts=self._rooms.restorer.n_restarts,
        )

    # -- intake ------------------------------------------------------------------------------------------------

    def _take_in(self) -> None:
        try:
            while not isinstance(event := self._rooms.source.next_event(0.1), RunEnded):
                self._take(event)
            self._take(event)
            self._storage.put(event)
            self.ended = event
            logger.info("acquisition ended reason=%s detail=%s", event.reason, event.detail or "-")
        finally:
            with self._wanted:
                self._intake_over = True
                skipped = self._schedule.forget_incomplete()
                self._wanted.notify_all()
            self._skip(skipped)

    def _take(self, event: SourceEvent | None) -> None:
        for consequence in (self._assembler.take(event) if event else []) + self._assembler.tick():
            match consequence:
                case Volume():
                    self._accept(consequence)
                case StateChanged():
                    self._change(consequence)
                case FrameDropped(index, reason, detail):
                    logger.debug("plane dropped index=%s reason=%s detail=%s", tuple(index), reason, detail)
                case VolumeRefused(key, reason):
                    logger.warning("volume refused key=%s reason=%s", tuple(key), reason)
                case PlanePlaced():
                    self._tally.plane()
                case VolumeOpened():
                    pass

    def _accept(self, volume: Volume) -> None:
        """Give a closed volume to the store first, then to the restorer."""
        self._tally.volume(volume)
        if volume.key in self._have:
            logger.info("volume is stored already key=%s", tuple(volume.key))
            self._ledger.give_back(volume.pixels.nbytes)
            return
        self._ledger.hold(volume.key)
        self._ledger.hold(volume.key)
        self._storage.put(volume, volume.pixels.nbytes)
        with self._wanted:
            if self._config.restore.policy == "wait":
                self._wanted.wait_for(lambda: self._schedule.n_waiting == 0 or self._draining)
            skipped = self._schedule.offer(volume)
            self._wanted.notify_all()
        self._skip(skipped)

    def _change(self, change: StateChanged) -> None:
        self._states[change.key] = change
        self._tally.state(change)
        self._storage.put(change)
        self._rooms.publisher.change(change)

    def _skip(self, skipped: list[Skipped]) -> None:
        for volume, why in ((one.volume, one.why) for one in skipped):
            note = NotRestored(volume.key, "skipped", why)
            self._tally.not_restored(note)
            self._storage.put(note)
            self._ledger.release(volume.key, volume.pixels.nbytes)
            self._rooms.publisher.skipped(note)
            logger.info("volume skipped key=%s why=%s", tuple(volume.key), why)

    # -- restore -----------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        while (job := self._next_job()) is not None:
            live = isinstance(job, Live)
            try:
                volumes = job.volumes if isinstance(job, Live) else tuple(map(self._stored.raw, job.keys))
                results = self._rooms.restorer.restore(volumes)
            except (RestoreError, StoreError) as error:
                self._fail(job, error)
            else:
                for restored in results:
                    self._deliver(restored if live else replace(restored, flags=restored.flags | {"late"}))
            if isinstance(job, Live):
                for volume in job.volumes:
                    self._ledger.release(volume.key, volume.pixels.nbytes)

    def _next_job(self) -> Job | None:
        """Wait for something to restore; None when nothing will come."""
        with self._wanted:
            while not self._stopping:
                live_only = self._draining or (self._config.restore.policy == "defer" and not self._intake_over)
                if (job := self._schedule.next(live_only=live_only)) is not None:
                    self._wanted.notify_all()
                    return job
                if self._intake_over and (live_only or not self._schedule.n_later):
                    return None
                self._wanted.wait()
            return None

    def _deliver(self, restored: Restored) -> None:
        """Publish a restored volume, then hand it to the store."""
        change = self._states.get(restored.volume.key)
        if change is not None and change.state != restored.volume.state:
            restored = replace(restored, volume=replace(restored.volume, state=change.state))
        self._rooms.publisher.publish(restored)
        age_ms = self._tally.restored(restored)
        self._storage.put(restored, _nbytes(restored))
        integrity = restored.volume.integrity
        logger.info(
            "volume restored t=%d p=%d c=%d planes=%d/%d state=%s age=%.0f ms inference=%.0f ms flags=%s",
            *restored.key,
            len(integrity.received),
            len(integrity.expected),
            restored.volume.state,
            age_ms,
            restored.infer_s * 1e3,
            ",".join(sorted(restored.flags)) or "-",
        )

    def _fail(self, job: Job, error: Exception) -> None:
        """Count a failure; the volume is tried again, later, from the store."""
        keys = tuple(volume.key for volume in job.volumes) if isinstance(job, Live) else job.keys
        for key in keys:
            self._failures[key] = self._failures.get(key, 0) + 1
            note = NotRestored(key, "failed", str(error))
            self._tally.not_restored(note)
            self._storage.put(note)
            logger.warning("restoration failed key=%s try=%d error=%s", tuple(key), self._failures[key], error)
            if self._failures[key] < _TRIES:
                with self._wanted:
                    self._schedule.later(key)

    # -- store -------------------------------------------------------------------------------------------------

    def _store(self) -> None:
        try:
            while True:
                self._keep(self._storage.get())
        except Closed:
            return
        finally:
            self._storage.close()  # a dead store must not keep its senders waiting

    def _keep(self, record: Record | None) -> None:
        match record:
            case Volume():
                self._store_raw(record)
            case Restored():
                self._store_restored(record)
            case StateChanged() | NotRestored() | RunEnded():
                self._rooms.writer.note(record)

    def _store_raw(self, volume: Volume) -> None:
        """Write a raw volume; while the disk refuses, hold everything up and say so: raw is never dropped."""
        deadline = time.monotonic() + _DISK_PATIENCE_S
        while True:
            try:
                self._rooms.writer.write_raw(volume)
                break
            except StoreError as error:
                if time.monotonic() > deadline:
                    raise
                self._tally.set(detail=f"raw volume {tuple(volume.key)} waits for the disk: {error}")
                logger.error("raw volume waits for the disk key=%s error=%s", tuple(volume.key), error)
                time.sleep(_DISK_RETRY_S)
        self._tally.add("stored_raw")
        with self._wanted:
            self._schedule.stored(volume.key)
            self._wanted.notify_all()
        self._ledger.release(volume.key, volume.pixels.nbytes)

    def _store_restored(self, restored: Restored) -> None:
        """Write a restored volume; it is the first to be shed when the disk fills, since raw can remake it."""
        try:
            self._rooms.writer.write_restored(restored, sources=self._sources(restored))
            self._tally.add("stored_restored")
        except StoreError as error:
            self._tally.add("shed")
            self._tally.set(detail=f"restored volume {tuple(restored.key)} is not stored: {error}")
            logger.error("restored volume shed key=%s error=%s", tuple(restored.key), error)

    def _sources(self, restored: Restored) -> tuple[VolumeKey, ...]:
        """Return the raw volumes that the network read together."""
        key = restored.volume.key
        n = self._schedule.channels_in
        return tuple(VolumeKey(key.t, key.p, c) for c in range(n)) if n > 1 else (key,)


def _nbytes(restored: Restored) -> int:
    arrays = (restored.mean, restored.laplace_scale, restored.disagreement)
    return sum(array.nbytes for array in arrays if array is not None)
