"""The journal of a run of care_live, as far as a reader of raw volumes needs it: the plan, and what is stored.

The store's own reader stands above this room and knows more; see ``care_live/store/layout.md`` for the format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from care_live.errors import SourceError, StoreError
from care_live.images import Plan, VolumeKey
from care_live.recorded.journal_lines import JOURNAL_NAME, scan
from care_live.recorded.run_records import RawStored, Record, RunBegan, RunEndNoted, RunResumed, from_json


@dataclass(frozen=True, slots=True)
class RunContents:
    """What a run was to hold, and what it holds."""

    plan: Plan
    """Of a run that did not finish: up to the last time point that is stored."""
    stored: Mapping[VolumeKey, RawStored]
    plate: Mapping[str, Any] | None = None
    """What the source said of its plate; None: the images lie in one folder a position."""


def run_of(path: Path) -> Path | None:
    """Return the run's folder for a run, its ``raw`` images, or one of these; None where there is no journal.

    >>> run_of(Path("no/such/folder")) is None
    True
    """
    above = {path, path.parent} if path.name == "raw" else {path}
    if path.parent.name == "raw":
        above = {path, path.parent.parent}
    return next((folder for folder in above if (folder / JOURNAL_NAME).is_file()), None)


def read_run(run: Path) -> RunContents:
    """Read a run's journal; damaged and torn lines acknowledge nothing.

    Raises
    ------
    SourceError
        The journal has no beginning of the run, or a record that this version does not know.
    """
    began: RunBegan | None = None
    stored: dict[VolumeKey, RawStored] = {}
    finished = False
    for record in _records(run):
        match record:
            case RunBegan():
                began = record
            case RawStored():
                stored[record.key] = record
            case RunEndNoted(reason=reason):
                finished = reason == "finished"
            case RunResumed():
                finished = False
    if began is None:
        raise SourceError(f"the journal of {run} does not say how the run began: run `care-live verify {run}`")
    return RunContents(_plan(began, stored, finished=finished), stored, began.summary.get("plate"))


def _records(run: Path) -> Iterator[Record]:
    try:
        yield from map(from_json, scan((run / JOURNAL_NAME).read_bytes()).records)
    except StoreError as error:
        raise SourceError(f"the journal of {run} holds what this version cannot read: {error}") from error


def _plan(began: RunBegan, stored: Mapping[VolumeKey, RawStored], *, finished: bool) -> Plan:
    plan = began.plan()
    planned = dict(plan.stacks)
    if plan.endless:
        planned = {}
    elif not finished:
        last = max((key.t for key in stored), default=-1)
        planned = {key: planes for key, planes in planned.items() if key.t <= last}
    planned |= {key: volume.integrity.expected for key, volume in stored.items()}
    return replace(plan, stacks=planned, endless=False)
