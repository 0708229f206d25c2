"""The first stage: frames of the source become volumes; each goes to the store first, then to the restorer."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

from care_live.assemble import Assembler
from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.inbox import Inbox
from care_live.daemon.lag import Lag
from care_live.daemon.memory_budget import MemoryBudget
from care_live.daemon.policy import SkippedVolume
from care_live.daemon.run_metrics import Tally
from care_live.daemon.storing import StorageRecord
from care_live.daemon.unstored_frames import UnstoredFrames
from care_live.daemon.volume_states import VolumeStates
from care_live.daemon.worker_group import WorkerGroup
from care_live.daemon.worklist import Worklist
from care_live.images import Frame, NotRestored, Restored, RunEnded, SourceEvent, StateChanged, Volume
from care_live.open_volumes import AssemblyEvent, FrameDropped, VolumeOpened, VolumeRefused
from care_live.publish.publisher import Publisher
from care_live.source import KeepsFrames, Source
from care_live.trust.references import References

logger = logging.getLogger(__name__)

_TICK_S = 0.1
"""How often volumes whose deadline has passed are looked for when no frame comes."""
_SEE_OFF_S = 60.0
"""How long a tap waits for what it sent to be stored, when its run is over."""
_CONCLUDE_S = 5.0
"""How long another thread may be at work with the assembler."""


@dataclass(slots=True)
class Intake:
    """Runs until the source has ended, or `halt` or `conclude` is called.

    Nothing but the source, the assembler and the store's inbox can fail it: what publishing and restoring raise stays
    behind their bulkheads.
    """

    source: Source
    assembler: Assembler
    restorer: WorkerGroup
    publisher: Publisher
    storage: Inbox[StorageRecord]
    worklist: Worklist
    budget: MemoryBudget
    tally: Tally
    lag: Lag
    publishing: Bulkhead
    restoring: Bulkhead
    voxel_size_um: tuple[float, float, float]
    references: References
    states: VolumeStates
    unstored: UnstoredFrames
    ended: RunEnded = field(default_factory=lambda: RunEnded("failed", "the source ended without an event"))
    """How the acquisition ended; the first value holds when this stage fails."""
    _counted_s: float = 0.0
    _halted: threading.Event = field(default_factory=threading.Event)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    """Held by the thread that works with the assembler; never while it waits for an event of the source."""
    _over: bool = False
    _dropped_kinds: set[str] = field(default_factory=set)

    def work(self) -> None:
        try:
            while self._take(self.source.next_event(_TICK_S)):
                pass
            self._see_off()
        except BaseException as error:
            self.conclude(RunEnded("failed", str(error)))
            raise

    def _see_off(self) -> None:
        """Tell a source that keeps its frames what is stored of them, until all are."""
        until_s = time.monotonic() + _SEE_OFF_S
        while isinstance(self.source, KeepsFrames):
            is_last = not len(self.unstored)  # asked first: what is stored in between is said the next time
            self.source.stored(self.unstored.begin)
            if is_last or self._halted.is_set() or time.monotonic() > until_s:
                return
            self.source.next_event(_TICK_S)

    def halt(self) -> None:
        """Take no more events; what has arrived is closed and stored."""
        self._halted.set()

    def conclude(self, ended: RunEnded, *, wait_s: float = _CONCLUDE_S) -> bool:
        """Close every volume and end the run, also in place of a source that hangs; return whether that was possible.

        Only the first call counts. An event that a source gives afterwards is not taken.
        """
        if not self._turn.acquire(timeout=wait_s):
            return False
        try:
            self._finish(ended)
        finally:
            self._turn.release()
        return True

    def _take(self, event: SourceEvent | None) -> bool:
        """Take an event; return whether there may be more."""
        with self._turn:
            if self._over:
                return False
            if self._halted.is_set() and not isinstance(event, RunEnded):
                event = RunEnded("aborted", "stopped at once")
            if isinstance(event, RunEnded):
                self._finish(event)
                return False
            for consequence in (self.assembler.take(event) if event else []) + self.assembler.tick():
                self._pass_on(consequence)
                if isinstance(event, Frame) and isinstance(consequence, VolumeOpened):
                    self.unstored.arrive(event.arrival, consequence.key)
            if isinstance(event, Frame):
                self.unstored.arrive(event.arrival)
            if event is None or isinstance(event, Frame):
                self._publish_slabs()
            if time.monotonic() - self._counted_s > _TICK_S:
                self._count()
                if isinstance(self.source, KeepsFrames):
                    self.source.stored(self.unstored.begin)
                self.lag.look(self.storage.waiting[0])
            return True

    def _finish(self, ended: RunEnded) -> None:
        """Close what is open; even where that fails, the stages downstream learn that no more comes."""
        if self._over:
            return
        self._over, self.ended = True, ended
        try:
            for consequence in self.assembler.take(ended):
                self._pass_on(consequence)
            self.storage.put(ended)
        finally:
            self._count()
            self._end_intake()
        level = logging.INFO if ended.reason == "finished" else logging.WARNING
        logger.log(level, "acquisition ended reason=%s detail=%s", ended.reason, ended.detail or "-")

    def _end_intake(self) -> None:
        skipped, unrestorable = self.worklist.intake_over()
        self.skip(skipped)
        for one in unrestorable:  # each was counted when it was skipped
            self._note(NotRestored(one.key, "skipped", one.why))
            logger.warning("volume can't be restored key=%s why=%s", tuple(one.key), one.why)

    def _publish_slabs(self) -> None:
        """Show planes that are restored while their stack is still being recorded."""
        for worker in self.restorer.workers:
            found: list[Restored] = []
            with self.restoring:
                found = worker.arrivals.restored_planes(self.voxel_size_um)
            for planes in found:
                with self.publishing:
                    self.publisher.broadcast.slab(planes)

    def _count(self) -> None:
        """Note how many planes came; only the thread that works with the assembler may read that."""
        self._counted_s = time.monotonic()
        counts = self.assembler.counts
        self.tally.set(
            planned_planes=counts.planned,
            received_planes=counts.received,
            lost_planes=counts.lost,
            refused_volumes=counts.refused_volumes,
            refused_planes=counts.skipped,
            dropped_planes=dict(counts.dropped or {}),
            already_stored=counts.already_stored,
        )

    def _pass_on(self, event: AssemblyEvent) -> None:
        match event:
            case Volume():
                self._accept(event)
            case StateChanged():
                self._change(event)
            case VolumeOpened() if self.worklist.takes(event.key) and not self.references.is_reference(event.key):
                with self.restoring:
                    self.restorer.arrivals.begin(event)
            case Frame():
                self.tally.plane()
                with self.restoring:
                    if (worker := self.restorer.arrivals.worker_of(event.index.volume)) is not None:
                        worker.arrivals.place(event)
            case FrameDropped():
                self._log_dropped(event)
            case VolumeRefused(key, reason):
                self.lag.refused()
                logger.warning("volume refused key=%s reason=%s", tuple(key), reason)

    def _log_dropped(self, event: FrameDropped) -> None:
        """Warn of the first plane of each kind that has no place; the others are counted."""
        is_first = not self._dropped_kinds.issuperset({event.reason})
        self._dropped_kinds.add(event.reason)
        level = logging.WARNING if is_first else logging.DEBUG
        logger.log(level, "plane dropped index=%s reason=%s detail=%s", tuple(event.index), event.reason, event.detail)

    def _accept(self, volume: Volume) -> None:
        self.tally.volume(volume)
        self.references.take(volume)
        self.budget.hold(volume.key)  # by the store
        if self.references.is_reference(volume.key):
            self.storage.put(volume)
            return
        if not self.worklist.takes(volume.key):
            self.storage.put(volume)
            with self.publishing:
                self.publisher.publish(volume)
            return
        self.budget.hold(volume.key)  # by the restorer
        self.storage.put(volume)
        with self.restoring:
            self.restorer.keep(volume)
        self.skip(self.worklist.offer(volume))

    def _change(self, change: StateChanged) -> None:
        self.states.note(change)
        self.tally.state(change)
        self.storage.put(change)
        with self.publishing:
            self.publisher.change(change)

    def skip(self, skipped: list[SkippedVolume]) -> None:
        """Report volumes that are not restored live, and give their memory back."""
        for one in skipped:
            note = NotRestored(one.volume.key, "skipped", one.why)
            self.tally.not_restored(note)
            self.budget.release(note.key, one.volume.pixels.nbytes)
            self._note(note)
            logger.info("volume skipped key=%s why=%s", tuple(note.key), one.why)

    def _note(self, note: NotRestored) -> None:
        self.storage.put(note)
        with self.publishing:
            self.publisher.skipped(note)
