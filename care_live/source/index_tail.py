"""An index of images that is read while its writer appends to it."""

from __future__ import annotations

import os
from pathlib import Path

from care_live.errors import SourceError
from care_live.recorded.ndtiff_index import ImageEntry, entries

_LENGTH_BYTES = 4
"""An entry begins with a length, padding with zeros."""
_READ_BYTES = 1 << 20


class IndexTail:
    """Reads what is appended to an index, entry by entry."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._longest = 0
        self.is_finished = False
        """The writer has cut the padding off, as Micro-Manager does at the end."""

    def read(self) -> list[ImageEntry]:
        """Return the entries that are whole now and were not before; an index that is not there yet has none.

        Raises
        ------
        SourceError
            The index is broken, or cannot be read.
        """
        try:
            if not self._path.is_file():
                return []
            with self._path.open("rb", buffering=0) as file:  # opened anew: nothing that was read before is kept
                length = os.fstat(file.fileno()).st_size
                file.seek(self._position)
                data = file.read(_LENGTH_BYTES)
                data += file.read(_READ_BYTES) if any(data) else b""  # padding comes in megabytes, 20 times a second
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SourceError(f"cannot read {self._path}: {error}") from error
        if length < self._position:
            raise SourceError(f"{self._path} has {length} bytes, {self._position} were read: it was written anew")
        self._longest = max(self._longest, length)
        self.is_finished = self._position == length < self._longest
        found = list(entries(data, first_byte=self._position))
        self._position += found[-1][0] if found else 0
        return [entry for _, entry in found]

    def go_back_to(self, entry: ImageEntry) -> None:
        """Read an entry and those behind it again: it may have been met while it was being written."""
        self._position = entry.index_at
