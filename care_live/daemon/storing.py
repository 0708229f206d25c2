"""The storing stage: raw volumes are never dropped; restored ones are shed first when the disk fills."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from care_live.daemon.inbox import Inbox, InboxClosed
from care_live.daemon.memory_budget import MemoryBudget
from care_live.daemon.run_metrics import Tally
from care_live.daemon.shed_volumes import ShedVolumes
from care_live.daemon.unstored_frames import UnstoredFrames
from care_live.errors import StoreError
from care_live.images import NetworkInUse, NotRestored, Restored, RunEnded, StateChanged, Volume, VolumeKey
from care_live.store import RunWriter

if TYPE_CHECKING:  # the pipeline gives it here
    from care_live.daemon.worklist import Worklist

logger = logging.getLogger(__name__)


Note: TypeAlias = StateChanged | NotRestored | RunEnded | NetworkInUse
"""What is written beside the volumes."""
StorageRecord: TypeAlias = Volume | Restored | Note
"""What the store keeps."""

_TRIES = 3
"""How often a restored volume is tried while the disk has space; none waits, since raw volumes come behind it."""
_RETRY_S = 0.5
"""How often a disk that refuses is tried again."""
LOOK_S = 1.0
"""How often the free space is measured."""


@dataclass(slots=True)
class Storing:
    """Runs until its inbox is closed and empty."""

    writer: RunWriter
    storage: Inbox[StorageRecord]
    worklist: Worklist
    budget: MemoryBudget
    tally: Tally
    shed: ShedVolumes
    full_wait_s: float
    """How long a disk that refuses is waited for."""
    alarm: Callable[[BaseException], None]
    """Called when the run's folder has vanished; the stage still tries to write what waits."""
    settle: Callable[[VolumeKey], None]
    """Called for every restored volume once it is written, or shed: memory may forget it from then on."""
    unstored: UnstoredFrames = field(default_factory=UnstoredFrames)
    n_kept: int = 0
    """Records that are dealt with."""
    _hurry: threading.Event = field(default_factory=threading.Event)
    _looked_s: float = 0.0

    def work(self) -> None:
        try:
            while True:
                if (record := self.storage.get(LOOK_S)) is not None:
                    self._keep(record)
                    self.n_kept += 1
                self._look_at_disk()
        except InboxClosed:
            return
        except StoreError:
            self._try_the_rest()
            raise
        finally:
            self.storage.close()  # a dead store must not keep its senders waiting
            self.shed.end()

    def _try_the_rest(self) -> None:
        """Try once to write each record that still waits: a disk that refused one may take another."""
        self.storage.close()
        self._leave_out_restored("the store has failed")
        with contextlib.suppress(InboxClosed):
            while (record := self.storage.get(0.0)) is not None:
                if not isinstance(record, Restored) and (error := self._tried(record)) is not None:
                    logger.error("not written %s: %s", type(record).__name__, error)
                self.n_kept += 1

    def hurry(self) -> None:
        """Write only what must be kept, and wait for no disk that refuses; the next start restores the others again."""
        self._hurry.set()
        self._leave_out_restored("the run is ended at once")

    def _leave_out_restored(self, why: str) -> None:
        for restored in self.storage.leave_out_second():
            if isinstance(restored, Restored):
                self.shed.add(restored, why)
                self.settle(restored.key)

    def _look_at_disk(self) -> None:
        """Measure the free space now and then; in this thread, since a disk that hangs must not block another one."""
        if time.monotonic() - self._looked_s > LOOK_S:
            self._looked_s = time.monotonic()
            try:
                disk = self.writer.disk()
            except StoreError as gone:
                self.alarm(gone)
                return
            self.tally.set(disk_free_mib=disk.free_bytes / 2**20, disk_seconds_left=disk.seconds_left)
            if disk.space == "enough":
                self.shed.restore_again()

    def _keep(self, record: StorageRecord) -> None:
        """Write a record; while the disk refuses one that must not be lost, wait, and log that."""
        if isinstance(record, Restored):
            self._keep_restored(record)
            return
        until = time.monotonic() + self.full_wait_s
        waits = False
        while (error := self._tried(record)) is not None:
            if not waits:
                logger.error("the store waits for the disk, at most %.0f s: %s", self.full_wait_s, error)
                self.tally.set(detail=f"the store waits for the disk: {error}")
            waits = True
            if time.monotonic() > until or self._hurry.wait(_RETRY_S):
                raise error
        if waits:
            logger.warning("the disk takes volumes again")
            self.tally.set(detail="")

    def _tried(self, record: StorageRecord) -> StoreError | None:
        try:
            self._write(record)
        except StoreError as error:
            return error
        return None

    def _write(self, record: StorageRecord) -> None:
        match record:
            case Volume():
                self._write_raw(record)
            case Restored():
                self._write_restored(record)
            case NetworkInUse():
                self.writer.describe_network(record)
            case _:
                self.writer.note(record)

    def _write_raw(self, volume: Volume) -> None:
        self.writer.write_raw(volume)
        self.tally.add("stored_raw")
        self.unstored.settle(volume.key)
        self.worklist.stored(volume.key)
        self.budget.release(volume.key, volume.pixels.nbytes)

    def _keep_restored(self, restored: Restored) -> None:
        """Write a restored volume, or leave it out; what failed although the disk has space is tried again at once."""
        try:
            for n_left in reversed(range(_TRIES)):
                error = self._tried(restored)
                if error is None:
                    return
                if not n_left or not self._has_space():
                    self.tally.set(detail=f"restored volume {tuple(restored.key)} is not stored: {error}")
                    self.shed.add(restored, str(error))
                    return
        finally:
            self.settle(restored.key)

    def _has_space(self) -> bool:
        try:
            return self.writer.disk().space == "enough"
        except StoreError:
            return False

    def _write_restored(self, restored: Restored) -> None:
        age_s = (time.monotonic_ns() - restored.volume.last_plane_ns) / 1e9
        self.writer.write_restored(restored, age_s=None if "late" in restored.flags else round(age_s, 4))
        self.tally.add("stored_restored")
        self.shed.stored(restored.key)
