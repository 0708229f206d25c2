"""The stages of a run, wired.

::

    source ─▶ intake ─▶ worklist ─▶ restoring ─▶ publisher
                 │                      │
                 └───────▶ storing ◀────┘

Raw goes to the store before anything else and never waits for the restorer. The daemon starts, drains and
stops the stages; each ends by itself when its input has.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from care_live.acquisition_config import reference_of
from care_live.assemble import Assembler
from care_live.config import Config, FolderConfig, StudioConfig
from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.inbox import Inbox, InboxClosed
from care_live.daemon.intake import Intake
from care_live.daemon.lag import Lag
from care_live.daemon.memory_budget import MemoryBudget
from care_live.daemon.policy import Schedule
from care_live.daemon.readback import Stored
from care_live.daemon.restoring import Restoring
from care_live.daemon.run_metrics import Tally
from care_live.daemon.shed_volumes import ShedVolumes
from care_live.daemon.stage import Stage
from care_live.daemon.storing import StorageRecord, Storing
from care_live.daemon.unstored_frames import UnstoredFrames
from care_live.daemon.volume_states import VolumeStates
from care_live.daemon.worker_group import WorkerGroup
from care_live.daemon.worklist import Worklist
from care_live.images import Plan, RunEnded, RunStarted, VolumeKey
from care_live.publish.publisher import Publisher
from care_live.reasons import how
from care_live.restore.channel_choice import ChannelChoice
from care_live.source import Source
from care_live.store import RunWriter, Syncs
from care_live.trust.references import References

logger = logging.getLogger(__name__)

_LOOK_S = 0.5
_EARLIER_SHARE = 0.25
"""Of the memory for raw volumes, as much again for those of earlier time points, where a network reads them."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """The open ends of the pipeline, one a room; the daemon opens and closes them."""

    source: Source
    writer: RunWriter
    restorer: WorkerGroup
    publisher: Publisher
    publishing: Bulkhead
    """Around every call into the publisher."""
    restoring: Bulkhead
    """Around every call into the restorer."""


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
        Called with the error that ended intake or storing, in that stage's thread. Restoring may end without it: raw
        volumes go on.
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
        self._config, self._rooms, self._tally = config, rooms, tally
        self._plan = started.plan
        self._stopping = threading.Event()
        limit_bytes = config.assemble.memory_mib * 2**20
        self._budget = MemoryBudget(limit_bytes)
        self._storage = Inbox[StorageRecord]("store", limit_bytes)
        channels = self._choose_channels(started.plan)
        rooms.restorer.earlier.begin_run(int(_EARLIER_SHARE * limit_bytes))
        self._worklist = Worklist(Schedule(config.restore.policy, config.restore.nth, channels, plan=started.plan))
        states, shed = VolumeStates(), ShedVolumes(self._worklist, tally)
        self._references, unstored = References(started.plan, reference_of(config.source)), UnstoredFrames()
        if any(started.plan.twin_of(c) is not None for c in range(len(started.plan.channels))):
            self._references.go_on(rooms.writer.newest_measured(), rooms.writer.raw_records())
        self._intake = self._make_intake(started, states, unstored)
        self._storing = Storing(
            writer=rooms.writer,
            storage=self._storage,
            worklist=self._worklist,
            budget=self._budget,
            tally=tally,
            shed=shed,
            full_wait_s=config.store.full_wait_s,
            alarm=on_failure,
            settle=self._settle,
            unstored=unstored,
        )
        restoring = self._make_restoring(states, shed)
        self.intake = Stage("intake", self._intake.work, on_failure)
        self.restoring = Stage("restore", restoring.work, self._go_on_raw)
        self.storing = Stage("store", self._storing.work, on_failure)

    def _choose_channels(self, plan: Plan) -> ChannelChoice:
        """Find the channels that each network reads; a name that the run lacks costs its restoration, and no photon."""
        channels, wrong = self._rooms.restorer.choose(plan.channels)
        for why in wrong:
            self._tally.fault("channels", f"{why}: only raw is kept")
            logger.warning("channels not restored: %s: only raw is kept", why)
        return channels

    def _make_intake(self, started: RunStarted, states: VolumeStates, unstored: UnstoredFrames) -> Intake:
        rooms = self._rooms
        assembler = Assembler(
            self._config.assemble,
            admit=self._admit,
            give_back=self._budget.give_back,
            stored=rooms.writer.raw_keys(),
        )
        assembler.take(started)
        return Intake(
            source=rooms.source,
            assembler=assembler,
            restorer=rooms.restorer,
            publisher=rooms.publisher,
            storage=self._storage,
            worklist=self._worklist,
            budget=self._budget,
            tally=self._tally,
            lag=Lag(self._config.store.full_wait_s),
            publishing=rooms.publishing,
            restoring=rooms.restoring,
            voxel_size_um=started.plan.voxel_size_um,
            references=self._references,
            states=states,
            unstored=unstored,
        )

    def _make_restoring(self, states: VolumeStates, shed: ShedVolumes) -> Restoring:
        rooms = self._rooms
        return Restoring(
            group=rooms.restorer,
            publisher=rooms.publisher,
            storage=self._storage,
            worklist=self._worklist,
            budget=self._budget,
            tally=self._tally,
            shed=shed,
            open_stored=lambda: Stored(rooms.writer.path, rooms.writer.reader()),
            publishing=rooms.publishing,
            full_wait_s=self._config.store.full_wait_s,
            references=self._references,
            states=states,
            channels=self._plan.channels,
        )

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.intake, self.restoring, self.storing

    @property
    def interval_s(self) -> float | None:
        """From one time point that a network restores to the next; None before that is known."""
        n_together = self._worklist.channels.most_together
        if self._plan.interval_s > 0:
            places = {(key.p, key.c) for key in self._plan.stacks if not self._references.is_reference(key)}
            return self._plan.interval_s * n_together / max(1, len(places))
        volumes_per_s = self._tally.status().volumes_per_s
        return n_together / volumes_per_s if volumes_per_s else None

    @property
    def ended(self) -> RunEnded:
        """How the acquisition ended."""
        return self._intake.ended

    @property
    def busy(self) -> bool:
        """Whether frames may still come, or volumes are still to be restored."""
        return self.intake.alive or self.restoring.alive

    def _admit(self, nbytes: int) -> bool:
        """Find memory for a raw volume; where it lacks, volumes leave that wait for restoration: the store has them."""
        while not self._budget.admit(nbytes):
            if skipped := self._worklist.evict_oldest():
                self._intake.skip(skipped)
            elif not self._waits_for_memory():
                return False
        return True

    def _waits_for_memory(self) -> bool:
        """Wait for the disk where the source can wait, too; return whether it has given memory back."""
        can_wait = self._config.restore.policy == "wait" or isinstance(self._config.source, FolderConfig | StudioConfig)
        patience_s = self._config.store.full_wait_s if can_wait else 0.0  # Micro-Manager keeps what we don't fetch yet
        until_s = time.monotonic() + patience_s
        while self.storing.alive and not self._stopping.is_set() and time.monotonic() < until_s:
            if self._budget.wait_for_less(_LOOK_S):
                return True
        return False

    def start(self) -> None:
        """Queue the volumes that an earlier session did not restore, and start the stages."""
        for key in self._rooms.writer.raw_only():
            if self._references.is_reference(key) or not self._worklist.takes(key):
                continue
            self._worklist.later(key)
            self._worklist.stored(key)
        for stage in (self.storing, self.restoring, self.intake):
            stage.start()

    def drain(self) -> None:
        """Finish the volumes in restoration; leave the others to the next start."""
        self._worklist.drain()

    def stop(self) -> None:
        """Restore nothing more and take nothing more; raw volumes that have arrived are still written."""
        self._stopping.set()
        self._worklist.stop()
        self._intake.halt()

    def conclude(self, why: str) -> bool:
        """Close and store the volumes of a source that hangs; return whether that was possible."""
        return self._intake.conclude(RunEnded("stalled", why))

    def close_storage(self) -> None:
        """No record will come any more; the storing stage ends when it has written what waits."""
        self._storage.close()

    def hurry(self) -> None:
        """Write only what must be kept, and wait for no disk that refuses; the next start restores the others again."""
        self._storing.hurry()

    @property
    def store_progress(self) -> tuple[int, int]:
        """Records that the store has dealt with, plus syncs that returned: this grows unless the disk hangs."""
        return self._storing.n_kept, Syncs.n_done

    @property
    def n_unkept(self) -> int:
        """Records that still wait for the store."""
        return sum(self._storage.waiting) + self.storing.alive

    def _settle(self, key: VolumeKey) -> None:
        with self._rooms.publishing:
            self._rooms.publisher.settle(key)

    def _go_on_raw(self, error: BaseException) -> None:
        """Restoration has ended too early: waiting volumes are left to the next start, and raw volumes go on."""
        self._rooms.restoring.note(error)
        with contextlib.suppress(InboxClosed):
            self._intake.skip(self._worklist.give_up(f"restoring has failed ({error}); --resume restores it later"))

    def refresh(self) -> None:
        """Copy the queues' figures into the tally."""
        waiting, later = self._worklist.waiting
        self._tally.set(
            waiting_volumes=waiting,
            waiting_later=later,
            waiting_bytes=self._budget.used_bytes,
            restarts=self._rooms.restorer.n_restarts,
            workers=self._rooms.restorer.described(),
            model=", ".join(network.identity.name for network in self._rooms.restorer.networks),
            networks=self._rooms.restorer.networks_described(),
            swap=self._rooms.restorer.swap_state,
            streaming=how(self._rooms.restorer.choice),
        )
