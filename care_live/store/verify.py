"""Compare every checksum of a run with its journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.recorded.journal_lines import JOURNAL_NAME, Scan, scan
from care_live.recorded.run_records import STORED_PRODUCTS, StoredArray, StoredProduct
from care_live.store.claim import is_claimed
from care_live.store.fsync import translated
from care_live.store.ledger import Ledger
from care_live.store.quarantine import how_to_read, lying_in
from care_live.store.shards import folder_of_position, foreign_folders, is_raw, orphans, partial_files, raw_files
from care_live.store.zarr_images import ImageGroup

Kind: TypeAlias = Literal[
    "checksum", "missing", "size", "orphan", "partial", "journal", "metadata", "quarantine", "foreign"
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One difference between the files and the journal."""

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
    beside: tuple[Problem, ...] = ()
    """What lies in the folder and is no part of the run: raw volumes in quarantine, folders with foreign names."""

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
        There is no run, or the disk cannot be read.
    """
    with translated(f"cannot read run {path}", path):
        return _verify(path, progress)


def _verify(path: Path, progress: Callable[[int, int], None]) -> VerifyReport:
    journal = path / JOURNAL_NAME
    if not journal.is_file():
        raise StoreError(_no_run(path))
    being_written = is_claimed(path)
    found = scan(journal.read_bytes())
    ledger = Ledger()
    ledger.replay(found.records)
    problems = list(_journal(found, ledger))
    committed = [
        (product, key, stored) for product in STORED_PRODUCTS for key, stored in ledger.arrays(product).items()
    ]
    for done, (product, key, stored) in enumerate(committed, start=1):
        problems += _check(path, _image(ledger, product, key), key, stored)
        progress(done, len(committed))
    problems += _unreadable_metadata(path, {_image(ledger, product, key) for product, key, _ in committed})
    if not being_written:
        problems += _leftovers(path, ledger, found.torn_bytes)
    n_bytes = sum(one.file_bytes for _, _, stored in committed for one in (stored, *stored.levels))
    return VerifyReport(path, being_written, len(committed), n_bytes, tuple(problems), tuple(_beside(path, ledger)))


def _no_run(path: Path) -> str:
    n_raw = len(raw_files(path))
    holds = f"; the {n_raw} raw volumes in it can be read: {how_to_read(path)}" if n_raw else ""
    return f"{path} is not a run of care_live: it has no {JOURNAL_NAME}{holds}"


def _journal(found: Scan, ledger: Ledger) -> Iterator[Problem]:
    for number in found.damaged_lines:
        yield Problem("journal", JOURNAL_NAME, f"line {number} is damaged; a volume may be missing from the journal")
    if ledger.began is None:
        yield Problem("journal", JOURNAL_NAME, "the record that begins the run is missing")


def _image(ledger: Ledger, product: StoredProduct, key: VolumeKey) -> str:
    return f"{product}/{key.p if ledger.began is None else folder_of_position(ledger.began, key.p)}"


def _check(run: Path, image: str, key: VolumeKey, stored: StoredArray) -> Iterator[Problem]:
    """Compare one volume: its files, their size, its pixels."""
    where = f"{image}/0/c/{key.t}/{key.c}"
    try:
        group = ImageGroup(run / image)
    except StoreError as error:
        yield Problem("missing", where, str(error))
        return
    files = group.files(key.t, key.c, stored.shape[0])
    if lost := [file for file in files if not file.is_file()]:
        yield from (
            Problem("missing", file.relative_to(run).as_posix(), "the journal acknowledges it") for file in lost
        )
        return
    n_bytes = sum(file.stat().st_size for file in files)
    if n_bytes != stored.file_bytes:
        yield Problem("size", where, f"{n_bytes} bytes on the disk, {stored.file_bytes} were stored")
    for level, one in enumerate((stored, *stored.levels)):
        try:
            ImageGroup(run / image, level=level).read(key.t, key.c, one)
        except StoreError as error:
            yield Problem("checksum", f"{image}/{level}/c/{key.t}/{key.c}", str(error))


def _unreadable_metadata(run: Path, images: set[str]) -> Iterator[Problem]:
    """Look for groups that a viewer could not open, though their volumes may be sound."""
    for where in ("zarr.json", "OME/zarr.json", *(f"{image}/zarr.json" for image in sorted(images))):
        try:
            _ = json.loads((run / where).read_bytes())["attributes"]["ome"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield Problem("metadata", where, f"{type(error).__name__}: the next volume stored in this run repairs it")


def _leftovers(run: Path, ledger: Ledger, torn_bytes: int) -> Iterator[Problem]:
    """Look for what a crash left; the next start of a daemon on this run tidies it."""
    for file in orphans(run, ledger):
        yield Problem(
            "orphan", file.relative_to(run).as_posix(), f"the journal does not acknowledge it; {_next(run, file)}"
        )
    for file in partial_files(run):
        yield Problem(
            "partial", file.relative_to(run).as_posix(), f"half-written when its writer died; {_next(run, file)}"
        )
    if torn_bytes:
        yield Problem("journal", JOURNAL_NAME, f"its last {torn_bytes} bytes are a line that was cut off")


def _next(run: Path, file: Path) -> str:
    return "the next daemon on this run " + ("sets it aside" if is_raw(run, file) else "deletes it")


def _beside(run: Path, ledger: Ledger) -> Iterator[Problem]:
    for file in lying_in(run):
        folder = run.joinpath(*file.relative_to(run).parts[:2])
        how = "half-written raw" if file.suffix else f"raw that no line acknowledged: {how_to_read(folder)}"
        yield Problem("quarantine", file.relative_to(run).as_posix(), how)
    for path in foreign_folders(run, ledger.began):
        yield Problem("foreign", path.relative_to(run).as_posix(), "a name that no run has; it is left alone")
