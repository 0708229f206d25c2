"""The restoring stage: the worklist's jobs go through the network; results are published, then stored."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from care_live.daemon.inbox import Inbox
from care_live.daemon.memory import Ledger
from care_live.daemon.schedule import Job, Live
from care_live.daemon.stored import Stored
from care_live.daemon.storing import ModelInUse, Record
from care_live.daemon.tally import Tally
from care_live.daemon.worklist import Worklist
from care_live.errors import RestoreError, StoreError
from care_live.images import ModelIdentity, NotRestored, Restored, StateChanged, Volume, VolumeKey
from care_live.publish.publisher import Publisher
from care_live.restore.process import RestoreProcess

logger = logging.getLogger(__name__)

_TRIES = 3
"""How often a volume that failed is tried again, from the store."""


@dataclass(slots=True)
class Restoring:
    """Runs until nothing is left to restore."""

    restorer: RestoreProcess
    publisher: Publisher
    storage: Inbox[Record]
    worklist: Worklist
    ledger: Ledger
    tally: Tally
    stored: Stored
    states: Mapping[VolumeKey, StateChanged]
    """What became of volumes after they closed; written by the intake."""
    _failures: Counter[VolumeKey] = field(default_factory=Counter)
    _model: ModelIdentity | None = None

    def work(self) -> None:
        while (job := self.worklist.next()) is not None:
            self._release(job)
            try:
                volumes = self._volumes(job)
                results = self.restorer.restore(volumes)
            except (RestoreError, StoreError) as error:
                self._fail(job, error)
            else:
                for restored in results:
                    self._deliver(restored, live=isinstance(job, Live))
                self._publish_beside(volumes, results)

    def _release(self, job: Job) -> None:
        """Give the memory back before the network begins: raw volumes must not wait for it."""
        if isinstance(job, Live):
            for volume in job.volumes:
                self.ledger.release(volume.key, volume.pixels.nbytes)

    def _volumes(self, job: Job) -> tuple[Volume, ...]:
        return job.volumes if isinstance(job, Live) else tuple(self.stored.raw(key) for key in job.keys)

    def _deliver(self, restored: Restored, *, live: bool) -> None:
        restored = self._up_to_date(restored if live else replace(restored, flags=restored.flags | {"late"}))
        if restored.model != self._model:
            self._model = restored.model
            self.storage.put(ModelInUse(restored.model, self.restorer.card))
            self.publisher.describe_model(restored.model, self.restorer.card.model_dump(mode="json"))
        self.publisher.publish(restored, until_settled=True)
        age_ms = self.tally.restored(restored)
        self.storage.put(restored, _nbytes(restored))
        _log(restored, age_ms)

    def _publish_beside(self, volumes: tuple[Volume, ...], results: tuple[Restored, ...]) -> None:
        """Publish the raw volumes that no result carries: a network may read more channels than it gives."""
        carried = {restored.volume.key for restored in results}
        for volume in volumes:
            if volume.key not in carried:
                self.publisher.publish(volume)

    def _up_to_date(self, restored: Restored) -> Restored:
        """Give a result the state that its volume has got since it closed."""
        change = self.states.get(restored.volume.key)
        if change is None or change.state == restored.volume.state:
            return restored
        return replace(restored, volume=replace(restored.volume, state=change.state))

    def _fail(self, job: Job, error: Exception) -> None:
        """Count a failure; the volume is tried again, later, from the store."""
        keys = tuple(volume.key for volume in job.volumes) if isinstance(job, Live) else job.keys
        for key in keys:
            self._failures[key] += 1
            note = NotRestored(key, "failed", str(error))
            self.tally.not_restored(note)
            self.storage.put(note)
            self.publisher.skipped(note)
            logger.warning("restoration failed key=%s try=%d error=%s", tuple(key), self._failures[key], error)
            if self._failures[key] < _TRIES:
                self.worklist.later(key)


def _nbytes(restored: Restored) -> int:
    arrays = (restored.mean, restored.laplace_scale, restored.disagreement)
    return sum(array.nbytes for array in arrays if array is not None)


def _log(restored: Restored, age_ms: float) -> None:
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
