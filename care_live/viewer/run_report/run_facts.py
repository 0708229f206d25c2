"""The records of a run's journal, added up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from care_live.images import NotRestored, VolumeKey
from care_live.recorded.run_records import ModelNoted
from care_live.store import RunReader
from care_live.viewer.trust_line import TrustSpan, by_channel, note_of

_NUMBER = re.compile(r"[\d.,%]+ ?")


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Numbers of volumes and planes."""

    planned: int
    came: int
    """Acquired; offline a person may keep their raw volumes only where they were recorded."""
    stored: int
    incomplete: int
    """Stored, with planes missing."""
    suspect: int
    restored: int
    skipped: int
    failed: int
    planes_expected: int
    planes_received: int
    duplicates: int
    left_out: int
    """Stored, of channels that this run does not restore."""

    @property
    def never_came(self) -> int:
        """Return the volumes that were planned and never acquired."""
        return max(self.planned - self.came, 0)

    @property
    def waiting(self) -> int:
        """Return the stored volumes that are neither restored, given up, nor left out."""
        return max(self.stored - self.restored - self.skipped - self.failed - self.left_out, 0)

    @property
    def planes_lost(self) -> int:
        """Return the planes that are missing in stored volumes."""
        return self.planes_expected - self.planes_received


@dataclass(frozen=True, slots=True)
class TimeLine:
    """One number a volume, by time point."""

    name: str
    unit: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One volume that needs a second look, and why."""

    key: VolumeKey
    reason: str


@dataclass(frozen=True, slots=True)
class Caution:
    """A reason for which volumes are amber."""

    first: VolumeKey
    reason: str
    """Of the first of them: its numbers are others in others."""
    n_volumes: int


@dataclass(frozen=True, slots=True)
class ReferenceFacts:
    """What the planes that were exposed twice have shown, and cost."""

    n_measured: int
    """Time points and positions of which the error was measured."""
    dose: float
    """Exposure time of all references over that of all other planes."""
    unmeasured: tuple[str, ...]
    """Why the others say nothing."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """All that the page contains about a run, but for pictures."""

    run_id: str
    path: Path
    end: str
    is_over: bool
    began_us: int
    voxel_size_um: tuple[float, float, float]
    channels: tuple[str, ...]
    positions: tuple[str, ...]
    shape_px: tuple[int, int]
    models: tuple[ModelNoted, ...]
    tally: RunCounts
    lines: tuple[TimeLine, ...]
    troubles: tuple[Trouble, ...]
    flags: tuple[tuple[str, int], ...]
    verdicts: tuple[tuple[str, int], ...]
    """(green, amber, red or not examined; number of restored volumes)."""
    cautions: tuple[Caution, ...]
    """Why volumes are amber, the most frequent reason first."""
    trust_lines: Mapping[str, Sequence[TrustSpan]]
    """By channel."""
    references: ReferenceFacts | None
    """None: the run has no reference planes."""
    damaged_lines: tuple[int, ...]


def gather(reader: RunReader) -> RunFacts:
    """Add up the journal of a run."""
    plan = reader.plan
    return RunFacts(
        run_id=reader.run_id,
        path=reader.path,
        end=_end(reader),
        is_over=reader.ended is not None,
        began_us=reader.began_us,
        voxel_size_um=reader.voxel_size_um,
        channels=plan.channels,
        positions=plan.positions,
        shape_px=plan.shape_px,
        models=reader.models,
        tally=_tally(reader),
        lines=_lines(reader),
        troubles=_troubles(reader),
        flags=_flags(reader),
        verdicts=_verdicts(reader),
        cautions=_cautions(reader),
        trust_lines=_trust_lines(reader),
        references=_references(reader),
        damaged_lines=reader.damaged_lines,
    )


def _end(reader: RunReader) -> str:
    ended = reader.ended
    if ended is None:
        return "not ended: the run goes on, or its daemon was killed"
    waiting = "; volumes wait to be restored" if ended.restoring else ""
    return f"{ended.reason}{': ' if ended.detail else ''}{ended.detail}{waiting}"


def _is_reference(reader: RunReader, key: VolumeKey) -> bool:
    return reader.plan.twin_of(key.c) is not None


def _tally(reader: RunReader) -> RunCounts:
    keys = [key for key in reader.keys("raw") if not _is_reference(reader, key)]
    raw = [reader.acquisition(key).integrity for key in keys]
    given_up = Counter(one.reason for one in reader.not_restored().values())
    restored = {source for key in reader.keys("restored") for source in reader.restoration(key).sources}
    return RunCounts(
        planned=sum(not _is_reference(reader, key) for key in reader.plan.stacks),
        came=sum(not _is_reference(reader, key) for key in _came(reader)),
        stored=len(raw),
        incomplete=sum(bool(one.missing) for one in raw),
        suspect=sum(reader.state(key) == "suspect" for key in keys),
        restored=len(restored),
        skipped=given_up["skipped"],
        failed=given_up["failed"],
        planes_expected=sum(len(one.expected) for one in raw),
        planes_received=sum(len(set(one.expected) & set(one.received)) for one in raw),
        duplicates=sum(one.n_duplicates for one in raw),
        left_out=len(_left_out(reader, keys, restored)),
    )


def _left_out(reader: RunReader, raw: list[VolumeKey], restored: set[VolumeKey]) -> list[VolumeKey]:
    """Return the volumes of channels of which nothing was tried, in a run that is complete and restored others."""
    if not restored or reader.ended is None or not reader.ended.is_complete:
        return []
    tried = {key.c for key in restored} | {key.c for key in reader.not_restored()}
    return [key for key in raw if key.c not in tried]


def _lines(reader: RunReader) -> tuple[TimeLine, ...]:
    """Return the time lines that have any points."""
    restored = {key: reader.restoration(key) for key in reader.keys("restored")}
    gaps = {key: reader.acquisition(key).integrity.worst_gap_ms for key in reader.keys("raw")}
    measured = {one.trust.measured for one in restored.values() if one.trust and one.trust.measured}
    ordered = sorted(measured, key=lambda one: one.t)
    lines = (
        TimeLine("age of restored volumes", "s", _points({key.t: one.age_s for key, one in restored.items()})),
        TimeLine("measured PSNR, by reference planes", "dB", tuple((one.t, one.psnr_db) for one in ordered)),
        TimeLine("measured coverage of 90 % intervals", "share", _points({one.t: one.coverage for one in ordered})),
        TimeLine("widening of the intervals", "times", tuple((one.t, one.widening) for one in ordered)),
        TimeLine("inference", "s", tuple((key.t, one.infer_s) for key, one in restored.items())),
        TimeLine("low of the intensity range", "counts", tuple((key.t, one.low) for key, one in restored.items())),
        TimeLine("high of the intensity range", "counts", tuple((key.t, one.high) for key, one in restored.items())),
        TimeLine("longest gap between two planes", "ms", tuple((key.t, gap) for key, gap in gaps.items())),
    )
    return tuple(line for line in lines if line.points)


def _points(values: dict[int, float | None]) -> tuple[tuple[int, float], ...]:
    return tuple((t, value) for t, value in values.items() if value is not None)


def _troubles(reader: RunReader) -> tuple[Trouble, ...]:
    found = [*_missing(reader), *(_given_up(one) for one in reader.not_restored().values()), *_untrue(reader)]
    return tuple(sorted(found, key=lambda trouble: trouble.key))


def _missing(reader: RunReader) -> list[Trouble]:
    found = []
    stored = set(reader.keys("raw"))
    for key in sorted(stored):
        missing, state = reader.acquisition(key).integrity.missing, reader.state(key)
        if missing:
            found.append(Trouble(key, f"of its planes {len(missing)} are missing: {_short(missing)}"))
        if state == "suspect":
            found.append(Trouble(key, "its planes may lie at wrong heights: the camera lost or doubled a frame"))
    if reader.ended is not None and not reader.plan.endless:
        found += [Trouble(key, "the microscope never delivered it") for key in _planned(reader) - _came(reader)]
    return found


def _planned(reader: RunReader) -> set[VolumeKey]:
    """Return the volumes of the plan; references only where raw volumes are stored, as they have no others."""
    keeps_raw = bool(reader.keys("raw"))
    return {key for key in reader.plan.stacks if keeps_raw or not _is_reference(reader, key)}


def _came(reader: RunReader) -> set[VolumeKey]:
    """Return the volumes that were acquired: raw ones are stored, or something was made of them."""
    sources = {source for key in reader.keys("restored") for source in reader.restoration(key).sources}
    return sources | set(reader.keys("raw")) | set(reader.not_restored())


def _untrue(reader: RunReader) -> list[Trouble]:
    """Return the volumes whose verdict is red."""
    verdicts = {key: reader.restoration(key).trust for key in reader.keys("restored")}
    return [Trouble(key, "; ".join(one.reasons)) for key, one in verdicts.items() if one and one.colour == "red"]


def _given_up(event: NotRestored) -> Trouble:
    return Trouble(event.key, f"restoration {event.reason}: {event.detail}")


def _short(planes: tuple[int, ...]) -> str:
    """List planes, counted from 1 as on sliders."""
    return ", ".join(str(z + 1) for z in planes[:8]) + (" and more" if len(planes) > 8 else "")


def _flags(reader: RunReader) -> tuple[tuple[str, int], ...]:
    counted = Counter(flag for key in reader.keys("restored") for flag in reader.restoration(key).flags)
    return tuple(counted.most_common())


def _verdicts(reader: RunReader) -> tuple[tuple[str, int], ...]:
    trusts = (reader.restoration(key).trust for key in reader.keys("restored"))
    counted = Counter("not examined" if trust is None else trust.colour for trust in trusts)
    return tuple((name, counted[name]) for name in ("green", "amber", "red", "not examined") if counted[name])


def _cautions(reader: RunReader) -> tuple[Caution, ...]:
    """Return the reasons of amber volumes; those that differ in their numbers alone are one."""
    verdicts = {key: reader.restoration(key).trust for key in reader.keys("restored")}
    found: dict[str, list[tuple[VolumeKey, str]]] = {}
    for key, trust in sorted(verdicts.items(), key=lambda one: one[0]):
        for reason in trust.reasons if trust is not None and trust.colour == "amber" else ():
            found.setdefault(_NUMBER.sub("", reason), []).append((key, reason))
    every = (Caution(*alike[0], len(alike)) for alike in found.values())
    return tuple(sorted(every, key=lambda one: -one.n_volumes))


def _trust_lines(reader: RunReader) -> dict[str, list[TrustSpan]]:
    trusts = {key: reader.restoration(key).trust for key in reader.keys("restored")}
    notes = {key: note_of(trust) for key, trust in trusts.items() if trust is not None}
    names = dict(enumerate(reader.plan.channels))
    return {names.get(c, f"channel {c}"): line for c, line in by_channel(notes).items()}


def _references(reader: RunReader) -> ReferenceFacts | None:
    trusts = [reader.restoration(key).trust for key in reader.keys("restored")]
    measured = {one.measured for one in trusts if one is not None and one.measured is not None}
    unmeasured = tuple(one.unmeasured for one in trusts if one is not None and one.unmeasured)
    if not measured and not unmeasured:
        return None
    newest = max(measured, key=lambda one: one.t, default=None)
    return ReferenceFacts(len(measured), newest.dose if newest else 0.0, unmeasured)
