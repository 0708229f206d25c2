"""Compare every checksum of a run with its journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.store.collection import read_checked
from care_live.store.durable import translated
from care_live.store.groups import ImageGroup
from care_live.store.journal import JOURNAL_NAME, scan
from care_live.store.ledger import Ledger
from care_live.store.lock import is_locked
from care_live.store.records import PRODUCTS, Product, StoredArray
from care_live.store.recovery import orphans, partial_files

Kind: TypeAlias = Literal["checksum", "missing", "size", "orphan", "partial", "journal", "metadata"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as the journal says."""

    kind: Kind
    where: str
    """File, relative to the run's folder."""
    detail: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found."""

    run: Path
    being_written: bool
    """A writer is at work, so that shards without a journal line are no fault."""
    n_volumes: int
    """Committed volumes of all products, each of which was read."""
    n_bytes: int
    """Of their shard files."""
    problems: tuple[Problem, ...]

    @property
    def clean(self) -> bool:
        return not self.problems


def verify(path: Path, *, progress: Callable[[int, int], None] = lambda done, total: None) -> VerifyReport:
    """Read everything that a run's journal acknowledges, and look for what it does not.

    Parameters
    ----------
    path : Path
        The run's folder; it may still be written.
    progress : callable, (done, total)
        Called after every volume.

    Raises
    ------
    StoreError
        There is no run.
    """
    journal = path / JOURNAL_NAME
    if not journal.is_file():
        raise StoreError(f"{path} is no run of care_live: it has no {JOURNAL_NAME}")
    being_written = is_locked(path)
    with translated(f"cannot read the journal {journal}", path):
        found = scan(journal.read_bytes())
    ledger = Ledger()
    ledger.replay(found.records)
    problems = [
        Problem("journal", JOURNAL_NAME, f"line {number} is damaged; a volume may be forgotten")
        for number in found.damaged_lines
    ]
    if ledger.began is None:
        problems.append(Problem("journal", JOURNAL_NAME, "the record that begins the run is missing"))
    committed = [(product, key, stored) for product in PRODUCTS for key, stored in ledger.arrays(product).items()]
    for done, entry in enumerate(committed, start=1):
        problems += _check(path, *entry)
        progress(done, len(committed))
    problems += _unreadable_metadata(path, {(product, key.p) for product, key, _ in committed})
    if not being_written:
        problems += _leftovers(path, ledger, found.torn_bytes)
    n_bytes = sum(stored.file_bytes for _, _, stored in committed)
    return VerifyReport(path, being_written, len(committed), n_bytes, tuple(problems))


def _check(run: Path, product: Product, key: VolumeKey, stored: StoredArray) -> Iterator[Problem]:
    """Compare one volume: its files, their size, its pixels."""
    where = f"{product}/{key.p}/0/c/{key.t}/{key.c}"
    try:
        image = ImageGroup(run / product / str(key.p))
    except StoreError as error:
        yield Problem("missing", where, str(error))
        return
    files = image.files(key.t, key.c, stored.shape[0])
    if lost := [file for file in files if not file.is_file()]:
        yield from (
            Problem("missing", file.relative_to(run).as_posix(), "the journal acknowledges it") for file in lost
        )
        return
    n_bytes = sum(file.stat().st_size for file in files)
    if n_bytes != stored.file_bytes:
        yield Problem("size", where, f"{n_bytes} bytes on the disk, {stored.file_bytes} were stored")
    try:
        read_checked(image, key, stored)
    except StoreError as error:
        yield Problem("checksum", where, str(error))


def _unreadable_metadata(run: Path, images: set[tuple[Product, int]]) -> Iterator[Problem]:
    """Look for groups that a viewer could not open, though their volumes may be sound."""
    for where in ("zarr.json", "OME/zarr.json", *(f"{product}/{p}/zarr.json" for product, p in sorted(images))):
        try:
            _ = json.loads((run / where).read_bytes())["attributes"]["ome"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield Problem("metadata", where, f"{type(error).__name__}: the next volume stored in this run mends it")


def _leftovers(run: Path, ledger: Ledger, torn_bytes: int) -> Iterator[Problem]:
    """Look for what a crash left; the next start of a daemon on this run tidies it."""
    for file in orphans(run, ledger):
        yield Problem("orphan", file.relative_to(run).as_posix(), "the journal does not acknowledge it")
    for file in partial_files(run):
        yield Problem("partial", file.relative_to(run).as_posix(), "half-written when its writer died")
    if torn_bytes:
        yield Problem("journal", JOURNAL_NAME, f"its last {torn_bytes} bytes are a line that was cut off")
