"""Results on an object store: made as a run on a disk, with its locks and syncs, and then copied, its journal last."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from care_live.checksum import crc32c
from care_live.errors import ConfigError, StoreError
from care_live.imports import need
from care_live.offline import provenance
from care_live.offline.run_output import DataSetOutcome, Restorer, RunJob, Step, refuse_changed, restore_to_run
from care_live.offline.time_points import TimePoints
from care_live.recorded.journal_lines import JOURNAL_NAME
from care_live.store import RunReader
from care_live.store.lock import LOCK_NAME
from care_live.store.shards import QUARANTINE

_MARK = "restoring.json"
"""Copied first, and removed last: which run is being copied there."""
LOOK_S = 1.0
"""Between two looks whether another command copies to the same address."""
_NOT_COPIED = (LOCK_NAME, QUARANTINE)


def restore_to_address(job: RunJob, address: str, restorer: Restorer, *, step: Step) -> DataSetOutcome:
    """Restore into a run at the job's target, copy that to an address, and remove it here.

    Raises
    ------
    ConfigError
        Something else lies at the address, or a result of another network, other settings or another input.
    StoreError
        Another process writes this result, the disk is full, or the store does not take it.
    """
    there = Destination.at(address)
    if (found := there.run()) is not None:
        outcome = _found(found, job, address, step)
        there.remove_mark()  # a kill may have come between the last two steps
        shutil.rmtree(job.target, ignore_errors=True)  # a kill may have come just before it was removed
        return outcome
    there.refuse_foreign()
    outcome = restore_to_run(job, restorer, step=step)
    if outcome.n_done:
        there.copy(job.target)
        shutil.rmtree(job.target)
    return outcome


def _found(found: RunReader, job: RunJob, address: str, step: Step) -> DataSetOutcome:
    """Return what is there already, or refuse it."""
    provenance.refuse_other(found.summary.get(provenance.KEY), job.provenance, address)
    refuse_changed(found.summary.get("source_crc32c"), job)
    time_points, made = TimePoints(job.recording, run_id=job.run_id), set(found.keys("restored"))
    outcome = DataSetOutcome()
    for time_point in time_points.all:
        if made.intersection(time_points.keys(time_point)):
            outcome.n_before += 1
        else:
            outcome.failed[time_point] = f"{address} lacks it; remove that to try again"
        step()
    return outcome


@dataclass(frozen=True, slots=True)
class Destination:
    """A folder on a store that fsspec reaches."""

    address: str
    _files: Any
    """fsspec's file system."""
    _path: str

    @classmethod
    def at(cls, address: str) -> Destination:
        """Open it.

        Raises
        ------
        ConfigError
            The extra is not installed, or fsspec knows no such kind of address.
        """
        fsspec = need("fsspec", extra="s3")
        if address.startswith("s3://"):
            need("s3fs", extra="s3")
        try:
            files, path = fsspec.core.url_to_fs(address.rstrip("/"))
        except (ValueError, ImportError) as error:
            raise ConfigError(f"{address} cannot be written to: {error}") from error
        return cls(address.rstrip("/"), files, path)

    def run(self) -> RunReader | None:
        """Return the run that is there, by its journal alone, which was copied last; None where none is whole."""
        with self._our_errors("read"):
            self._files.invalidate_cache()
            if not self._files.exists(self._at(JOURNAL_NAME)):
                return None
            journal: bytes = self._files.cat_file(self._at(JOURNAL_NAME))
        with tempfile.TemporaryDirectory(prefix="care-live-") as folder:
            (Path(folder) / JOURNAL_NAME).write_bytes(journal)
            return RunReader(Path(folder))

    def refuse_foreign(self) -> None:
        """Raise a ConfigError where something lies that care_live did not begin to copy."""
        with self._our_errors("read"):
            if self._sizes() and not self._files.exists(self._at(_MARK)):
                raise ConfigError(
                    f"{self.address} exists already, and care-live restore did not make it: choose another name"
                )

    def copy(self, run: Path) -> None:
        """Copy a run; what an interrupted copy of the same run has brought there already is not copied again.

        Raises
        ------
        StoreError
            The store does not take it.
        """
        files = {file.relative_to(run).as_posix(): file for file in _files_of(run)}
        mark = _mark_of(run)
        with self._our_errors("write"):
            there, looked_s = self._begin(mark), time.monotonic()
            for name, file in files.items():
                if time.monotonic() - looked_s > LOOK_S:
                    self._must_be_ours(mark)
                    looked_s = time.monotonic()
                if not _is_pixels(name) or there.get(name) != file.stat().st_size:  # metadata are copied every time
                    self._files.put_file(str(file), self._at(name))
            there = self._sizes()
            if missing := [name for name in files if name not in there]:
                raise StoreError(f"{self.address} lacks {missing[0]} after it was copied: give the command again")
            self._must_be_ours(mark)
            for name in filter(_is_pixels, there.keys() - files.keys()):  # of another run, whose copy was interrupted
                self._files.rm_file(self._at(name))
            self._files.put_file(str(run / JOURNAL_NAME), self._at(JOURNAL_NAME))
            self.remove_mark()

    def remove_mark(self) -> None:
        """Remove what says that a copy is on its way: all is there."""
        with self._our_errors("write"):
            if self._files.exists(self._at(_MARK)):
                self._files.rm_file(self._at(_MARK))

    def _must_be_ours(self, mark: bytes) -> None:
        """Refuse to go on where another command has begun to copy to the same address; the last one goes on."""
        try:
            found: bytes = self._files.cat_file(self._at(_MARK))
        except FileNotFoundError:
            found = b""
        if found != mark:
            raise StoreError(f"another command copies to {self.address}, too: let it end, then look what is there")

    def _begin(self, mark: bytes) -> dict[str, int]:
        """Mark what is being copied; return what an earlier copy of the same run has brought, with sizes in bytes."""
        there = self._sizes()
        if _MARK in there and self._files.cat_file(self._at(_MARK)) == mark:
            return there
        self._files.pipe_file(self._at(_MARK), mark)
        return {}

    def _sizes(self) -> dict[str, int]:
        self._files.invalidate_cache()
        found = self._files.find(self._path, detail=True)
        return {path[len(self._path) :].lstrip("/"): int(info["size"]) for path, info in found.items()}

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"

    @contextlib.contextmanager
    def _our_errors(self, what: str) -> Iterator[None]:
        """Turn errors of fsspec, and of whatever is behind it, into StoreErrors."""
        try:
            yield
        except (ConfigError, StoreError):
            raise
        except Exception as error:
            detail = str(error) or type(error).__name__
            raise StoreError(f"cannot {what} {self.address}: {detail}; the same command goes on") from error


def _mark_of(run: Path) -> bytes:
    return msgspec.json.encode({"run_crc32c": crc32c((run / JOURNAL_NAME).read_bytes().partition(b"\n")[0])})


def _is_pixels(name: str) -> bool:
    return "/c/" in name


def _files_of(run: Path) -> list[Path]:
    """Return what is copied before the journal: shards, then metadata, those of the groups above last."""
    every = [file for file in run.rglob("*") if file.is_file() and file.relative_to(run).parts[0] not in _NOT_COPIED]
    kept = [file for file in every if file != run / JOURNAL_NAME]
    return sorted(kept, key=lambda file: (file.name == "zarr.json", -len(file.parts), file))
