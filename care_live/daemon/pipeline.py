"""The stages of a run, wired.

::

    source ─▶ intake ─▶ worklist ─▶ restoring ─▶ publisher
                 │                      │
                 └───────▶ storing ◀────┘

Raw goes to the store before anything else and never waits for the restorer. The daemon starts, drains and
stops the stages; each ends by itself when its input has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from care_live.assemble import Assembler
from care_live.config import Config
from care_live.daemon.inbox import Inbox
from care_live.daemon.intake import Intake
from care_live.daemon.memory import Ledger
from care_live.daemon.restoring import Restoring
from care_live.daemon.schedule import Schedule
from care_live.daemon.stage import Stage
from care_live.daemon.stored import Stored
from care_live.daemon.storing import Record, Storing
from care_live.daemon.tally import Tally
from care_live.daemon.worklist import Worklist
from care_live.images import RunEnded, RunStarted, StateChanged, VolumeKey
from care_live.publish.publisher import Publisher
from care_live.restore.process import RestoreProcess
from care_live.source import Source
from care_live.store import RunWriter


@dataclass(frozen=True, slots=True)
class Rooms:
    """The open ends of the pipeline, one a room; the daemon opens and closes them."""

    source: Source
    writer: RunWriter
    restorer: RestoreProcess
    publisher: Publisher


class Pipeline:
    """Three stages and what flows between them.

    Parameters
    ----------
    config : Config
    rooms : Rooms
    tally : Tally
    started : RunStarted
        The run's first event; the source gives the rest.
    on_failure : callable
        Told of the error that ended a stage, in that stage's thread.
    """

    def __init__(
        self,
        config: Config,
        rooms: Rooms,
        tally: Tally,
        started: RunStarted,
        *,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._rooms, self._tally = rooms, tally
        restorer, publisher, writer = rooms.restorer, rooms.publisher, rooms.writer
        limit_bytes = config.assemble.memory_mib * 2**20
        self._ledger = ledger = Ledger(limit_bytes)
        assembler = Assembler(config.assemble, admit=self._admit)
        assembler.take(started)
        self._storage = storage = Inbox[Record]("store", limit_bytes)
        schedule = Schedule(
            config.restore.policy, config.restore.nth, len(restorer.card.channels_in), plan=started.plan
        )
        self._worklist = worklist = Worklist(schedule)
        states: dict[VolumeKey, StateChanged] = {}
        self._intake = Intake(
            source=rooms.source,
            assembler=assembler,
            restorer=restorer,
            publisher=publisher,
            storage=storage,
            worklist=worklist,
            ledger=ledger,
            tally=tally,
            voxel_size_um=started.plan.voxel_size_um,
            already=frozenset(writer.raw_keys()),
            states=states,
        )
        restoring = Restoring(
            restorer=restorer,
            publisher=publisher,
            storage=storage,
            worklist=worklist,
            ledger=ledger,
            tally=tally,
            stored=Stored(writer.path),
            states=states,
        )
        self._storing = Storing(writer, storage, worklist, ledger, tally, config.store.full_wait_s, publisher.settle)
        self.intake = Stage("intake", self._intake.work, on_failure)
        self.restoring = Stage("restore", restoring.work, on_failure)
        self.storing = Stage("store", self._storing.work, on_failure)

    @property
    def ended(self) -> RunEnded:
        """How the acquisition ended."""
        return self._intake.ended

    @property
    def busy(self) -> bool:
        """Whether frames may still come, or volumes are still to be restored."""
        return self.intake.alive or self.restoring.alive

    def _admit(self, nbytes: int) -> bool:
        """Find memory for a raw volume: what waits to be restored gives way, since the store has it."""
        while not self._ledger.admit(nbytes):
            if not (skipped := self._worklist.make_room()):
                return False
            self._intake.skip(skipped)
        return True

    def start(self) -> None:
        """Queue what an earlier session left raw-only, and start the stages."""
        for key in self._rooms.writer.raw_only():
            self._worklist.later(key)
            self._worklist.stored(key)
        for stage in (self.storing, self.restoring, self.intake):
            stage.start()

    def drain(self) -> None:
        """Finish what is on its way, leave the rest for the next start."""
        self._worklist.drain()

    def stop(self) -> None:
        """Restore nothing more; raw volumes that wait are still written."""
        self._worklist.stop()

    def close_storage(self) -> None:
        """No record will come any more; the storing stage ends when it has written what waits."""
        self._storage.close()
        self._storing.hurry()

    def refresh(self) -> None:
        """Copy the queues' figures into the tally."""
        waiting, later = self._worklist.waiting
        self._tally.set(
            waiting_volumes=waiting,
            waiting_later=later,
            waiting_bytes=self._ledger.used_bytes,
            restarts=self._rooms.restorer.n_restarts,
            model=self._rooms.restorer.identity.name,
            swap=self._rooms.restorer.swap_phase or str(self._rooms.restorer.comparison or ""),
            streaming=self._rooms.restorer.streaming,
        )
