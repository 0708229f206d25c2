"""One recording restored into a run: time points that it has already are passed over, whatever ended the last try."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from care_live.config import StoreConfig
from care_live.errors import ConfigError, RestoreError, SourceError
from care_live.images import NotRestored, Restored, RunEnded, RunStarted, Volume
from care_live.offline import provenance
from care_live.offline.opened_network import OpenedNetwork
from care_live.offline.time_points import RangeHistory, TimePoint, TimePoints, inputs
from care_live.recorded import Recording
from care_live.restore.engine import Engine
from care_live.store import Claim, RunWriter, open_run
from care_live.store.shards import QUARANTINE

Step = Callable[[], None]
"""Called with each time point that is done, in whatever way."""


@dataclass(slots=True)
class DataSetOutcome:
    """What became of the time points of one recording."""

    n_restored: int = 0
    """In this session."""
    n_before: int = 0
    """Restored in earlier sessions."""
    failed: dict[TimePoint, str] = field(default_factory=dict)
    flags: Counter[str] = field(default_factory=Counter)
    """Time points of this session that have each flag."""

    @property
    def n_done(self) -> int:
        return self.n_restored + self.n_before


@dataclass(frozen=True, slots=True)
class RunJob:
    """One recording to be restored into one run."""

    recording: Recording
    target: Path
    run_id: str
    provenance: dict[str, Any]
    source_crc32c: int | None = None
    """Of the recording's file, see `provenance.fingerprint`."""

    @property
    def keep_raw(self) -> bool:
        return bool(self.provenance["settings"]["keep_raw"])

    @property
    def dtype(self) -> str:
        return self.recording.contents.plan.dtype

    @property
    def started(self) -> RunStarted:
        contents = self.recording.contents
        made = {provenance.KEY: self.provenance, "source_crc32c": self.source_crc32c, "versions": provenance.versions()}
        summary = {**contents.summary, **made}
        return RunStarted(self.run_id, contents.plan, summary)


def restore_to_run(job: RunJob, network: OpenedNetwork, *, step: Step) -> DataSetOutcome:
    """Restore every time point that the run does not have yet; one that fails does not stop the others.

    Each is committed with its checksum before the next begins, so whatever ends this process, the same call goes on.

    Raises
    ------
    ConfigError
        Something else lies at the target, or a result of another network, other settings or another input.
    StoreError
        Another process writes this run, or the disk is full or missing.
    """
    with _claimed(job) as claim:
        time_points = TimePoints(job.recording, run_id=job.run_id)
        outcome = DataSetOutcome()
        if left := _left(time_points, claim, outcome, step):
            _Restoring(job, claim, time_points, outcome).run(left, network.engine(job.dtype), step)
    return outcome


@contextlib.contextmanager
def _claimed(job: RunJob) -> Iterator[Claim]:
    refuse_foreign(job.target)
    claim = Claim(job.target)
    try:
        if claim.ledger.began is not None:
            summary = claim.ledger.began.summary
            provenance.refuse_other(summary.get(provenance.KEY), job.provenance, job.target)
            refuse_changed(summary.get("source_crc32c"), job)
        yield claim
    finally:
        claim.close()


def refuse_foreign(target: Path) -> None:
    """Raise a ConfigError where something lies that is no run, or no folder can be made."""
    if target.exists() and not (target.is_dir() and ((target / "journal.jsonl").exists() or not any(target.iterdir()))):
        raise ConfigError(f"{target} exists already, and care-live restore did not make it: choose another name")
    if not target.parent.is_dir():
        raise ConfigError(f"there is no folder {target.parent} to write {target.name} to: create it first")


def refuse_changed(before: object, job: RunJob) -> None:
    """Raise a SourceError where the recording's file is not the one that the result was begun with."""
    if before != job.source_crc32c:
        source = job.recording.contents.summary.get("path")
        raise SourceError(f"{source} has changed since {job.target} was begun: choose another name, or remove it first")


def _left(time_points: TimePoints, claim: Claim, outcome: DataSetOutcome, step: Step) -> list[TimePoint]:
    """Return what the run does not have; what it has is counted and passed over."""
    made_from = claim.ledger.made_from()
    left = []
    for time_point in time_points.all:
        if made_from.issuperset(time_points.keys(time_point)):
            outcome.n_before += 1
            step()
        else:
            left.append(time_point)
    return left


class _Restoring:
    """Restores what is left of one run; the run is opened when there is something to write."""

    def __init__(self, job: RunJob, claim: Claim, time_points: TimePoints, outcome: DataSetOutcome) -> None:
        self._job, self._claim, self._time_points, self._outcome = job, claim, time_points, outcome
        self._writer: RunWriter | None = None

    def run(self, left: Sequence[TimePoint], engine: Engine, step: Step) -> None:
        engine.memories = {}
        history = RangeHistory(self._time_points)
        for time_point in left:
            history.bring(engine, time_point)
            try:
                volumes = self._time_points.read(time_point)
                results = [(group, engine.restore(group)) for group in inputs(volumes, engine)]
            except (SourceError, RestoreError) as error:
                history.failed(engine, time_point)
                self._outcome.failed[time_point] = str(error)
            else:
                history.restored(time_point)
                self._store(self._opened(engine), results)
            step()
        if self._writer is not None:
            self._end(self._writer)

    def _opened(self, engine: Engine) -> RunWriter:
        if self._writer is None:
            folder = self._job.target.parent
            exact = StoreConfig(directory=folder, restored_mantissa_bits=23)  # there is time, and people compare
            self._writer = open_run(exact, self._job.started, claim=self._claim)
            self._writer.describe_model(engine.identity, engine.card.model_dump(mode="json"))
        return self._writer

    def _store(self, writer: RunWriter, results: Sequence[tuple[Sequence[Volume], Sequence[Restored]]]) -> None:
        """Write one time point as the live daemon does: raw first, then what was made of it."""
        stored = set(writer.raw_keys())
        for volumes, _ in results:
            for volume in volumes:
                if self._job.keep_raw and volume.key not in stored:
                    writer.write_raw(volume)
        for _, restored in results:
            for one in restored:
                writer.write_restored(one)
        self._outcome.n_restored += 1
        self._outcome.flags.update({flag for _, restored in results for one in restored for flag in one.flags})

    def _end(self, writer: RunWriter) -> None:
        failed = self._outcome.failed
        for time_point, why in failed.items():
            for key in self._time_points.keys(time_point):
                writer.note(NotRestored(key, "failed", why))
        if not failed:  # a kill left copies of volumes that the input still has, and that are stored by now
            shutil.rmtree(writer.path / QUARANTINE, ignore_errors=True)
        writer.note(_ended(self._job.recording, failed))


def _ended(recording: Recording, failed: Mapping[TimePoint, str]) -> RunEnded:
    if not failed:
        return RunEnded("finished", n_delivered=len(recording.contents.order))
    first = next(iter(failed.values()))
    return RunEnded("failed", f"{len(failed)} time points were not restored; the first: {first}")
