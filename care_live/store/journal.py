"""The journal: what it says is real, and nothing else is.

One record a line, ``{"crc32c":"9f0e1d2c","record":{…}}``, appended and synced before anybody is told that
something is stored. The checksum is over the record's own bytes, so a line that was cut off by a crash shows.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from care_live.checksum import crc32c
from care_live.errors import StoreError
from care_live.store.durable import sync_folder, translated

JOURNAL_NAME = "journal.jsonl"
_HEAD = b'{"crc32c":"%08x","record":'
_HEAD_BYTES = len(_HEAD % 0)
_TAIL = b"}\n"


@dataclass(frozen=True, slots=True)
class Scan:
    """What a stretch of a journal holds."""

    records: tuple[bytes, ...]
    """JSON of each sound record, in order."""
    n_sound_bytes: int
    """Up to the end of the last sound line."""
    damaged_lines: tuple[int, ...]
    """Numbers, from 1, of damaged lines with a sound one after them: not a crash, but a broken disk or an edit."""
    torn_bytes: int
    """Bytes after the last sound line: a line cut off by a crash, or one that is being written now."""


def encode(record: bytes) -> bytes:
    """Return the line of one record."""
    return _HEAD % crc32c(record) + record + _TAIL


def decode(line: bytes) -> bytes | None:
    """Return the record of one line, or None when the line is damaged; ``decode(encode(r)) == r``."""
    record = line[_HEAD_BYTES : -len(_TAIL)]
    return record if line == encode(record) else None


def scan(data: bytes) -> Scan:
    """Read lines, tell sound from torn from damaged; never raises."""
    records: list[bytes] = []
    damaged: list[int] = []
    suspicious: list[int] = []
    sound = position = 0
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        position += len(line)
        record = decode(line)
        if record is None:
            suspicious.append(number)
            continue
        damaged += suspicious
        suspicious.clear()
        records.append(record)
        sound = position
    return Scan(tuple(records), sound, tuple(damaged), len(data) - sound)


class Journal:
    """A journal open for appending, owned by the run's writer.

    Raises
    ------
    StoreError
        It cannot be opened, or a line before the last sound one is damaged.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / JOURNAL_NAME
        with translated(f"cannot open the journal {self.path}", run):
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            sync_folder(run)
            found = scan(self.path.read_bytes())
        if found.damaged_lines:
            self.close()
            raise StoreError(
                f"journal {self.path} is damaged at line {found.damaged_lines[0]}; the run can be read but not "
                f"continued: see `care-live verify {run}` and start a new run_id"
            )
        self.records = found.records
        self.torn_bytes = found.torn_bytes
        self._n_bytes = found.n_sound_bytes
        self._drop_torn_tail()

    def append(self, record: bytes, *, sync: bool = True) -> None:
        """Add a record; when this returns it is on the disk, when it raises nothing of it is kept.

        Parameters
        ----------
        record : JSON
        sync : bool
            False: a crash of the computer, not of the daemon, may take it; the next synced record makes it safe.

        Raises
        ------
        StoreError
            The disk is full, gone or broken.
        """
        line = encode(record)
        with translated(f"cannot write the journal {self.path}", self.path.parent):
            try:
                _write_all(self._descriptor, line)
                if sync:
                    os.fsync(self._descriptor)
            except OSError:
                self._drop_torn_tail()
                raise
        self._n_bytes += len(line)

    def close(self) -> None:
        """Sync what was not yet, and let go of the file."""
        try:
            with translated(f"cannot write the journal {self.path}", self.path.parent):
                os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)

    def _drop_torn_tail(self) -> None:
        os.ftruncate(self._descriptor, self._n_bytes)
        os.lseek(self._descriptor, self._n_bytes, os.SEEK_SET)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
