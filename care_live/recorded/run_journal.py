"""The journal of a run of ours, as far as a reader of its raw volumes needs it: what was planned, and what is stored.

The store's own reader stands above this room and knows more; see ``care_live/store/layout.md`` for the format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from care_live.checksum import crc32c
from care_live.errors import SourceError
from care_live.images import Plan, VolumeKey

JOURNAL_NAME = "journal.jsonl"
_HEAD = b'{"crc32c":"%08x","record":'


class _Integrity(msgspec.Struct):
    expected: tuple[int, ...]
    received: tuple[int, ...]


class _Checksum(msgspec.Struct):
    crc32c: int


class StoredVolume(msgspec.Struct):
    """One raw volume that the journal acknowledges."""

    key: VolumeKey
    array: _Checksum
    """Of the volume's pixels, C order, little endian."""
    integrity: _Integrity
    acquired_us: int
    """Wall clock of the last plane, microseconds since the epoch."""
    exposure_ms: float | None = None


class _Began(msgspec.Struct):
    stacks: tuple[tuple[tuple[int, ...], tuple[VolumeKey, ...]], ...]
    shape_px: tuple[int, int]
    dtype: str
    voxel_size_um: tuple[float, float, float]
    channels: tuple[str, ...]
    positions: tuple[str, ...]
    interval_s: float
    endless: bool


class _Kind(msgspec.Struct):
    kind: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunContents:
    """What a run was to hold, and what it holds."""

    plan: Plan
    """Of a run that did not finish: up to the last time point that is stored."""
    stored: Mapping[VolumeKey, StoredVolume]


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
        It does not say how the run began.
    """
    began: _Began | None = None
    stored: dict[VolumeKey, StoredVolume] = {}
    finished = False
    for record in _records((run / JOURNAL_NAME).read_bytes()):
        head = msgspec.json.decode(record, type=_Kind)
        if head.kind == "run-began":
            began = msgspec.json.decode(record, type=_Began)
        elif head.kind == "raw":
            volume = msgspec.json.decode(record, type=StoredVolume)
            stored[volume.key] = volume
        elif head.kind in ("run-ended", "run-resumed"):
            finished = head.reason == "finished"
    if began is None:
        raise SourceError(f"the journal of {run} does not say how the run began: run `care-live verify {run}`")
    return RunContents(_plan(began, stored, finished=finished), stored)


def _records(journal: bytes) -> Iterator[bytes]:
    for line in journal.split(b"\n")[:-1]:
        record = line[len(_HEAD % 0) : -1]
        if line == _HEAD % crc32c(record) + record + b"}":
            yield record


def _plan(began: _Began, stored: Mapping[VolumeKey, StoredVolume], *, finished: bool) -> Plan:
    fields: dict[str, Any] = {name: getattr(began, name) for name in began.__struct_fields__}
    planned = {key: planes for planes, keys in began.stacks for key in keys}
    if began.endless or not planned:
        planned = {}
    elif not finished:
        last = max((key.t for key in stored), default=-1)
        planned = {key: planes for key, planes in planned.items() if key.t <= last}
    planned |= {key: volume.integrity.expected for key, volume in stored.items()}
    return Plan(**{**fields, "stacks": planned, "endless": False})
