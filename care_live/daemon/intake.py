"""The first stage: frames of the source become volumes; each goes to the store first, then to the restorer."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from care_live.assemble import Assembler
from care_live.daemon.inbox import Inbox
from care_live.daemon.memory import Ledger
from care_live.daemon.schedule import Skipped, Unrestorable
from care_live.daemon.storing import Record
from care_live.daemon.tally import Tally
from care_live.daemon.worklist import Worklist
from care_live.images import (
    AssemblyEvent,
    Frame,
    FrameDropped,
    NotRestored,
    PlanePlaced,
    RunEnded,
    SourceEvent,
    StateChanged,
    Volume,
    VolumeKey,
    VolumeOpened,
    VolumeRefused,
)
from care_live.publish.publisher import Publisher
from care_live.publish.slabs import RestoredSlab
from care_live.restore.process import RestoreProcess
from care_live.source import Source

logger = logging.getLogger(__name__)

_TICK_S = 0.1
"""How often volumes whose deadline has passed are looked for when no frame comes."""


@dataclass(slots=True)
class Intake:
    """Runs until the source has ended."""

    source: Source
    assembler: Assembler
    restorer: RestoreProcess
    publisher: Publisher
    storage: Inbox[Record]
    worklist: Worklist
    ledger: Ledger
    tally: Tally
    voxel_size_um: tuple[float, float, float]
    already: frozenset[VolumeKey]
    """Raw volumes that an earlier session stored."""
    states: dict[VolumeKey, StateChanged]
    """What became of volumes after they closed; also read by the restoring stage."""
    ended: RunEnded = field(default_factory=lambda: RunEnded("failed", "the source said no more"))
    """How the acquisition ended; what stands here first holds when this stage fails."""
    _counted_s: float = 0.0

    def work(self) -> None:
        try:
            while not isinstance(event := self.source.next_event(_TICK_S), RunEnded):
                self._take(event)
            self._take(event)
            self.storage.put(event)
            self.ended = event
            logger.info("acquisition ended reason=%s detail=%s", event.reason, event.detail or "-")
        finally:
            self._count()
            skipped, unrestorable = self.worklist.intake_over()
            self.skip(skipped)
            self._note_unrestorable(unrestorable)

    def _take(self, event: SourceEvent | None) -> None:
        for consequence in (self.assembler.take(event) if event else []) + self.assembler.tick():
            self._pass_on(consequence)
        if event is None or isinstance(event, Frame):
            self._publish_slabs()
        if time.monotonic() - self._counted_s > _TICK_S:
            self._count()

    def _publish_slabs(self) -> None:
        """Show planes that are restored while their stack is still being recorded."""
        for planes in self.restorer.restored_planes():
            slab = RestoredSlab(
                key=planes.key,
                z_first=planes.first,
                n_planes=planes.n_planes,
                mean=planes.mean,
                laplace_scale=planes.laplace_scale,
                disagreement=planes.disagreement,
                voxel_size_um=self.voxel_size_um,
            )
            self.publisher.slab(slab)

    def _count(self) -> None:
        """Tell how many planes came; the assembler belongs to this thread, so nobody else can ask it."""
        self._counted_s = time.monotonic()
        counts = self.assembler.counts
        self.tally.set(
            planned_planes=counts.planned,
            received_planes=counts.received,
            lost_planes=counts.lost,
            refused_volumes=counts.refused_volumes,
            refused_planes=counts.skipped,
            dropped_planes=dict(counts.dropped or {}),
        )

    def _pass_on(self, event: AssemblyEvent) -> None:
        match event:
            case Volume():
                self._accept(event)
            case StateChanged():
                self._change(event)
            case VolumeOpened():
                self.restorer.begin(event)
            case PlanePlaced():
                self.tally.plane()
                self.restorer.place(event)
            case FrameDropped(index, reason, detail):
                logger.debug("plane dropped index=%s reason=%s detail=%s", tuple(index), reason, detail)
            case VolumeRefused(key, reason):
                logger.warning("volume refused key=%s reason=%s", tuple(key), reason)

    def _accept(self, volume: Volume) -> None:
        self.tally.volume(volume)
        if volume.key in self.already:
            self.tally.add("already_stored")
            logger.info("volume is stored already, dropped key=%s", tuple(volume.key))
            self.ledger.give_back(volume.pixels.nbytes)
            return
        self.ledger.hold(volume.key)  # by the store
        self.ledger.hold(volume.key)  # by the restorer
        self.storage.put(volume, volume.pixels.nbytes)
        self.skip(self.worklist.offer(volume))

    def _change(self, change: StateChanged) -> None:
        self.states[change.key] = change
        self.tally.state(change)
        self.storage.put(change)
        self.publisher.change(change)

    def skip(self, skipped: list[Skipped]) -> None:
        """Tell that volumes are not restored live, and give their memory back."""
        for one in skipped:
            note = NotRestored(one.volume.key, "skipped", one.why)
            self.tally.not_restored(note)
            self.ledger.release(note.key, one.volume.pixels.nbytes)
            self.storage.put(note)
            self.publisher.skipped(note)
            logger.info("volume skipped key=%s why=%s", tuple(note.key), one.why)

    def _note_unrestorable(self, unrestorable: list[Unrestorable]) -> None:
        """Tell that volumes in the store stay as they are; each was counted when it was skipped."""
        for one in unrestorable:
            note = NotRestored(one.key, "skipped", one.why)
            self.storage.put(note)
            self.publisher.skipped(note)
            logger.warning("volume can't be restored key=%s why=%s", tuple(one.key), one.why)
