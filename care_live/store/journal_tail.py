"""A journal read while its writer goes on: the records since the last reading."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from care_live.errors import StoreError
from care_live.recorded.journal_lines import JOURNAL_NAME, Scan, scan
from care_live.store.fsync import translated


@dataclass(frozen=True, slots=True)
class News:
    """What one reading of a journal gave."""

    records: tuple[bytes, ...]
    """JSON of each sound record."""
    from_beginning: bool
    """These are all records: the lines that were read before have changed."""


class JournalTail:
    """Owned by one thread.

    A writer takes back a line that it could not sync, a person may put another journal in the place, and a network
    disk may show zeros in place of a coming line: so the last line is compared at every reading, and a journal with
    damaged lines is read whole again when it has changed.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._n_bytes = 0
        self._last = b""
        """The last whole line before `_n_bytes`."""
        self._seen: tuple[int, int] | None = None
        """Size and time of change of a damaged journal."""
        self.damaged_lines: tuple[int, ...] = ()

    def look(self) -> News:
        """Read on.

        Raises
        ------
        StoreError
            There is no journal, or it cannot be read.
        """
        journal = self._run / JOURNAL_NAME
        if not journal.is_file():
            raise StoreError(f"{self._run} is not a run of care_live: it has no {JOURNAL_NAME}")
        with translated(f"cannot read the journal {journal}", self._run), journal.open("rb") as file:
            state = os.fstat(file.fileno())
            if self.damaged_lines and self._seen == (state.st_size, state.st_mtime_ns):
                return News((), from_beginning=False)
            found, data, goes_on = self._read(file)
        if found.n_whole_bytes:
            self._last = data[: found.n_whole_bytes].splitlines(keepends=True)[-1]
        self._n_bytes += found.n_whole_bytes
        self.damaged_lines, self._seen = found.damaged_lines, (state.st_size, state.st_mtime_ns)
        return News(found.records, from_beginning=not goes_on)

    def _read(self, file: BinaryIO) -> tuple[Scan, bytes, bool]:
        """Read what follows the known lines; where those or the new ones are damaged, read everything."""
        file.seek(self._n_bytes - len(self._last))
        if not self.damaged_lines and file.read(len(self._last)) == self._last:
            data = file.read()
            found = scan(data)
            if not (found.damaged_lines and self._n_bytes):
                return found, data, self._n_bytes > 0
        self._n_bytes, self._last = 0, b""
        file.seek(0)
        data = file.read()
        return scan(data), data, False
