"""The storing stage: raw volumes are never dropped; restored ones are shed first when the disk fills."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TypeAlias

from care_live.daemon.inbox import Closed, Inbox
from care_live.daemon.memory import Ledger
from care_live.daemon.tally import Tally
from care_live.daemon.worklist import Worklist
from care_live.errors import StoreError
from care_live.images import ModelIdentity, NotRestored, Restored, RunEnded, StateChanged, Volume, VolumeKey
from care_live.model.card import ModelCard
from care_live.store import RunWriter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelInUse:
    """From here on this network restores; its card goes beside its volumes."""

    identity: ModelIdentity
    card: ModelCard


Record: TypeAlias = Volume | Restored | StateChanged | NotRestored | RunEnded | ModelInUse
"""What the store keeps."""

_PATIENCE_S = 600.0
"""How long a raw volume waits for a full disk to be freed before the run stops."""
_RETRY_S = 0.5


@dataclass(slots=True)
class Storing:
    """Runs until its inbox is closed and empty."""

    writer: RunWriter
    storage: Inbox[Record]
    worklist: Worklist
    ledger: Ledger
    tally: Tally
    _hurry: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        try:
            while True:
                self._keep(self.storage.get())
        except Closed:
            return
        finally:
            self.storage.close()  # a dead store must not keep its senders waiting

    def hurry(self) -> None:
        """Wait no longer for a disk that refuses."""
        self._hurry.set()

    def _keep(self, record: Record | None) -> None:
        match record:
            case Volume():
                self._write_raw(record)
            case Restored():
                self._write_restored(record)
            case StateChanged() | NotRestored() | RunEnded():
                self.writer.note(record)
            case ModelInUse(identity, card):
                self.writer.describe_model(identity, card.model_dump(mode="json"))

    def _write_raw(self, volume: Volume) -> None:
        """Write a raw volume; while the disk refuses, hold everything up and say so."""
        deadline = time.monotonic() + _PATIENCE_S
        while (error := self._tried(volume)) is not None:
            self.tally.set(detail=f"raw volume {tuple(volume.key)} waits for the disk: {error}")
            logger.error("raw volume waits for the disk key=%s error=%s", tuple(volume.key), error)
            if time.monotonic() > deadline or self._hurry.wait(_RETRY_S):
                raise error
        self.tally.add("stored_raw")
        self.worklist.stored(volume.key)
        self.ledger.release(volume.key, volume.pixels.nbytes)

    def _tried(self, volume: Volume) -> StoreError | None:
        try:
            self.writer.write_raw(volume)
        except StoreError as error:
            return error
        return None

    def _write_restored(self, restored: Restored) -> None:
        try:
            self.writer.write_restored(restored, sources=self._sources(restored))
            self.tally.add("stored_restored")
        except StoreError as error:
            self.tally.add("shed")
            self.tally.set(detail=f"restored volume {tuple(restored.key)} is not stored: {error}")
            logger.error("restored volume shed key=%s error=%s", tuple(restored.key), error)

    def _sources(self, restored: Restored) -> tuple[VolumeKey, ...]:
        """Return the raw volumes that the network read together."""
        key, n = restored.volume.key, self.worklist.channels_in
        return tuple(VolumeKey(key.t, key.p, c) for c in range(n)) if n > 1 else (key,)
