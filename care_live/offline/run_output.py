"""One recording restored into a run: time points that it has already are passed over, whatever ended the last try."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from care_live.errors import ConfigError, RestoreError, SourceError, VolumeMemoryError
from care_live.images import Flag, NotRestored, RunEnded, RunStarted, VolumeKey
from care_live.offline import input_trace, provenance
from care_live.offline.channel_engines import ChannelEngines, networks_of
from care_live.offline.computed_with import VERSIONS, ComputedWith, other_versions, versions
from care_live.offline.judged_results import Results, judged, references_of, restored_of
from care_live.offline.range_history import RangeHistory
from care_live.offline.time_points import TimePoint, TimePoints
from care_live.recorded import Recording
from care_live.restore.channel_choice import ChannelChoice
from care_live.restore.engine import Engine
from care_live.store import Claim, RunWriter
from care_live.store.collection import PYRAMID
from care_live.store.shards import QUARANTINE
from care_live.store.shared_writer import open_shared_run

if TYPE_CHECKING:  # they are opened elsewhere
    from care_live.offline.named_networks import Networks

logger = logging.getLogger(__name__)

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
    remarks: list[str] = field(default_factory=list)
    """What may make this session's volumes differ from those before."""

    @property
    def n_done(self) -> int:
        return self.n_restored + self.n_before


@dataclass(frozen=True, slots=True)
class RunJob:
    """One recording to be restored into one run."""

    recording: Recording
    source: Path | str
    target: Path
    run_id: str
    provenance: dict[str, Any]
    channels: ChannelChoice
    """Of the recording, by network; what no network takes passes through."""
    source_crc32c: int | None = None
    """Of the recording's file, see `provenance.fingerprint`."""
    source_trace: str | None = None
    """Of all its files, see `input_trace.trace`."""
    computed_with: ComputedWith | None = None
    """What the archive that it is part of chose; None: still to be chosen."""
    pyramid: bool = False
    """Store coarser levels, where the result is begun now."""

    @property
    def keep_raw(self) -> bool:
        return bool(self.provenance["settings"]["keep_raw"])

    @property
    def dtype(self) -> str:
        return self.recording.contents.plan.dtype

    def is_done(self, keys: Iterable[VolumeKey], *, made_from: Set[VolumeKey], raw: Set[VolumeKey]) -> bool:
        """Return whether a time point of these volumes is restored, and what passes through is stored."""
        return all(key in made_from if self.channels.takes(key) else key in raw or not self.keep_raw for key in keys)

    def started(self, chosen: ComputedWith | None) -> RunStarted:
        """Return how the run begins.

        Parameters
        ----------
        chosen : what computes it; None: not known, since a version that did not note it has begun it
        """
        contents = self.recording.contents
        made: dict[str, Any] = {
            provenance.KEY: self.provenance,
            "source_crc32c": self.source_crc32c,
            input_trace.KEY: self.source_trace,
            VERSIONS: versions(),
        }
        noted = {} if chosen is None else chosen.noted()
        levels = {PYRAMID: True} if self.pyramid else {}
        if contents.conversion:
            made |= {"pixels": contents.conversion}
        return RunStarted(self.run_id, contents.plan, {**contents.summary, **made, **levels, **noted})


def restore_to_run(job: RunJob, restorer: Restorer, *, step: Step) -> DataSetOutcome:
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
        refuse_changed_pixels(job, time_points, claim)
        outcome = DataSetOutcome(remarks=[one for one in (job.recording.contents.conversion,) if one])
        left = _left(job, time_points, claim, outcome=outcome, step=step)
        session = RunSession(job, claim, time_points, outcome)
        if left:
            restorer.restore(session, left, step)
        elif not _has_ended(claim):
            _end(session)
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


def refuse_changed_pixels(job: RunJob, time_points: TimePoints, claim: Claim) -> None:
    """Raise a SourceError where the recording's files changed, and with them what was restored already.

    Volumes that are left would be restored with ranges, and stand beside volumes, of pixels that are no more.
    """
    began = claim.ledger.began
    before = None if began is None else began.summary.get(input_trace.KEY)
    if before is None or before == job.source_trace or not (claim.ledger.raw or claim.ledger.restored):
        return
    logger.warning(
        "files of %s are not as they were when %s was begun: what is restored already is compared",
        job.source,
        job.target,
    )
    if differing := input_trace.differing(time_points, claim.ledger):
        p, t = differing[0]
        raise SourceError(
            f"{job.source} has changed since {job.target} was begun, at {len(differing)} time points that are restored "
            f"already (the first: t={t}, position {p}): choose another name, or remove it first"
        )


def _left(
    job: RunJob, time_points: TimePoints, claim: Claim, *, outcome: DataSetOutcome, step: Step
) -> list[TimePoint]:
    """Return what the run does not have; what it has is counted and passed over."""
    made_from, raw = claim.ledger.made_from(), frozenset(claim.ledger.raw)
    left = []
    for time_point in time_points.all:
        if job.is_done(time_points.keys(time_point), made_from=made_from, raw=raw):
            outcome.n_before += 1
            step()
        else:
            left.append(time_point)
    return left


def _has_ended(claim: Claim) -> bool:
    """Whether the run says that it is complete; a kill may have come behind its last time point, just before that."""
    ended = claim.ledger.ended
    return claim.ledger.began is None or (ended is not None and not ended.restoring)


def _end(session: RunSession) -> None:
    """End a run that lacks nothing else: nothing is computed for that, on this machine or another one."""
    writer = open_shared_run(session.job.started(session.computed_with), session.claim)
    writer.remove_unused_images()
    session.end(writer)


class RunSession:
    """One run while the time points that it lacks are restored."""

    def __init__(self, job: RunJob, claim: Claim, time_points: TimePoints, outcome: DataSetOutcome) -> None:
        self.job, self.claim, self.time_points, self.outcome = job, claim, time_points, outcome

    @property
    def computed_with(self) -> ComputedWith | None:
        """What computed the volumes before, or the archive's other runs; None: still to be chosen."""
        began = self.claim.ledger.began
        return ComputedWith.found_in(None if began is None else began.summary) or self.job.computed_with

    def go_on_with(self, versions: Mapping[str, str]) -> None:
        """Remark what is not as it was when the result was begun."""
        if (began := self.claim.ledger.began) is not None:
            self.outcome.remarks += other_versions(began.summary, versions)

    def done(self, flags: Iterable[Flag]) -> None:
        """Count a time point that is restored and stored, with the flags of its volumes."""
        self.outcome.n_restored += 1
        self.outcome.flags.update(set(flags))

    def end(self, writer: RunWriter) -> None:
        """Note what could not be restored, and how the run ended."""
        failed = self.outcome.failed
        for time_point, why in failed.items():
            for key in filter(self.job.channels.takes, self.time_points.keys(time_point)):
                writer.note(NotRestored(key, "failed", why))
        if not failed:  # a kill left copies of volumes that the input still has, and that are stored by now
            shutil.rmtree(writer.path / QUARANTINE, ignore_errors=True)
        writer.note(_ended(self.job.recording, failed))
        if not failed:  # channels that pass through do not wait
            writer.complete()


class Restorer(Protocol):
    """What restores time points of one run: this process, or workers on a cluster."""

    def choose(self, dtype: str) -> ComputedWith:
        """Return what computes pixels of a type here: where a person leaves that open, it is measured."""

    def restore(self, session: RunSession, left: Sequence[TimePoint], step: Step) -> None:
        """Restore and store these time points, and end the run; those that fail are noted in the session's outcome."""


class LocalRestorer:
    """Restores in this process, one time point after the other."""

    def __init__(self, network: Networks) -> None:
        self._network = network

    def choose(self, dtype: str) -> ComputedWith:
        return self._network.computed_with(dtype)

    def restore(self, session: RunSession, left: Sequence[TimePoint], step: Step) -> None:
        session.go_on_with(versions())
        names = session.job.recording.contents.plan.channels
        engine = self._network.engine(session.job.dtype, session.computed_with, channels=names)
        engine.memories = {}
        history = RangeHistory(session.time_points)
        references = references_of(session.job.recording.contents.plan, session.claim.ledger)
        writer: RunWriter | None = None
        stored = frozenset(session.claim.ledger.raw)
        for time_point in left:
            history.bring(engine, time_point)
            try:
                results = restored_of(session.time_points, time_point, engine)
                results = judged(session.time_points, time_point, results, engine=engine, references=references)
            except (SourceError, RestoreError) as error:
                history.failed(engine, time_point)
                session.outcome.failed[time_point] = str(error)
            else:
                history.restored(time_point)
                writer = writer or _open(session, self._network, engine)  # where all fail, nothing is written
                try:
                    _store(session, writer, results, stored=stored)
                except VolumeMemoryError as error:
                    session.outcome.failed[time_point] = str(error)
            step()
        if writer is not None:
            session.end(writer)


def _open(session: RunSession, networks: Networks, engine: Engine | ChannelEngines) -> RunWriter:
    chosen = session.computed_with or networks.computed_with(session.job.dtype)
    writer = open_shared_run(session.job.started(chosen), session.claim)
    for network in networks_of(engine):
        writer.describe_network(network)
    return writer


def _store(session: RunSession, writer: RunWriter, results: Results, *, stored: frozenset[VolumeKey]) -> None:
    """Write one time point as the live daemon does: raw first, unless it is stored, then what was made of it."""
    for volumes, _ in results:
        for volume in volumes:
            if session.job.keep_raw and volume.key not in stored:
                writer.write_raw(volume)
    for volumes, restored in results:
        for one in restored:
            crcs = () if session.job.keep_raw else input_trace.checksums_of(volumes, one.sources)
            writer.write_restored(one, sources_crc32c=crcs)
    session.done(flag for _, restored in results for one in restored for flag in one.flags)


def _ended(recording: Recording, failed: Mapping[TimePoint, str]) -> RunEnded:
    if not failed:
        return RunEnded("finished", n_delivered=len(recording.contents.order))
    first = next(iter(failed.values()))
    return RunEnded("failed", f"{len(failed)} time points were not restored; the first: {first}")
