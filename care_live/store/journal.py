"""The journal, open for appending: what it acknowledges is stored, and nothing else counts."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from care_live.errors import StoreError
from care_live.recorded.journal_lines import JOURNAL_NAME, Scan, encode, scan
from care_live.store import lock
from care_live.store.fsync import sync, sync_folder, translated

_MOST_UNSYNCED_BYTES = 2**20


class Journal:
    """A journal open for appending, locked, owned by the run's writer. Nothing is changed before the first `append`.

    Raises
    ------
    StoreError
        It cannot be opened, another writer holds it, or a line is damaged.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / JOURNAL_NAME
        with translated(f"cannot open the journal {self.path}", run):
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            try:
                if not lock.take(self._descriptor):
                    raise StoreError(f"run {run} is being written by another process; {lock.WHAT_TO_DO}")
                found = scan(_read_all(self._descriptor))
                self._refuse_damage(found)
                sync_folder(run)
            except BaseException:
                os.close(self._descriptor)
                raise
        self.records = found.records
        self._synced_bytes = found.n_whole_bytes
        self._unsynced = b""
        """Whole lines behind `_synced_bytes`, which a failed sync may take."""
        self.is_torn = found.torn_bytes > 0
        """Whether bytes lie behind the lines that are kept, which could not be cut off yet."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written."""
        return not (self._synced_bytes or self._unsynced or self.is_torn)

    def append(self, record: bytes, *, sync: bool = True) -> None:
        """Add a record; when this returns it is on the disk, when it raises it does not count.

        Parameters
        ----------
        record : JSON
        sync : bool
            False: a crash of the computer, not of the daemon, may take it; the next synced record makes it safe.

        Raises
        ------
        StoreError
            The disk is full, gone or broken, or another process deleted, replaced or wrote the file.
        """
        line, kept = encode(record), self._unsynced
        self.must_be_ours()
        with translated(f"cannot write the journal {self.path}", self.path.parent):
            try:
                self._cut_torn()
                self._write(line)
                self._unsynced += line
                if sync or len(self._unsynced) > _MOST_UNSYNCED_BYTES:
                    self._sync()
            except OSError:
                self._unsynced, self.is_torn = kept, True
                with contextlib.suppress(OSError):  # where even that fails, the next append does it
                    self._cut_torn()
                raise

    def must_be_ours(self) -> None:
        """Check that the file at the journal's place is the one that this writer holds, as it left it.

        Locks do not hold everywhere (a network disk mounted without them), and a deleted file stays writable.

        Raises
        ------
        StoreError
            It is another file, or was changed.
        """
        with translated(f"cannot write the journal {self.path}", self.path.parent):
            held, found = os.fstat(self._descriptor), self.path.stat()
        if not os.path.samestat(held, found):
            raise StoreError(f"journal {self.path} was replaced by another file while this daemon wrote it: stop")
        if not self.is_torn and held.st_size != self._synced_bytes + len(self._unsynced):
            raise StoreError(f"journal {self.path} was written by another process; let one daemon write a run")

    def close(self) -> None:
        """Sync the rest, and close the file."""
        try:
            with translated(f"cannot write the journal {self.path}", self.path.parent):
                if self._unsynced:
                    self._cut_torn()
                    self._sync()
        finally:
            os.close(self._descriptor)

    def _sync(self) -> None:
        sync(self._descriptor)
        self._synced_bytes += len(self._unsynced)
        self._unsynced = b""

    def _cut_torn(self) -> None:
        """Cut off what a crash or a failure left, and write again what a failed sync may have dropped from memory."""
        if not self.is_torn:
            return
        os.ftruncate(self._descriptor, self._synced_bytes)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        _write_all(self._descriptor, self._unsynced)
        self.is_torn = False

    def _write(self, line: bytes) -> None:
        os.lseek(self._descriptor, self._synced_bytes + len(self._unsynced), os.SEEK_SET)
        _write_all(self._descriptor, line)

    def _refuse_damage(self, found: Scan) -> None:
        if found.damaged_lines:
            raise StoreError(
                f"journal {self.path} is damaged at line {found.damaged_lines[0]}; the run can be read but not "
                f"continued, and nothing in it was changed: see `care-live verify {self.path.parent}` and start a "
                "new run_id"
            )


def _read_all(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts = []
    while part := os.read(descriptor, 2**20):
        parts.append(part)
    return b"".join(parts)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
