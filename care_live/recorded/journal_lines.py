"""The lines of a run's journal.

One record a line, ``{"crc32c":"9f0e1d2c","record":{…}}``, appended and synced before anything is said to be stored.
The checksum is over the record's own bytes, so a line that was cut off by a crash shows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from care_live.checksum import crc32c

JOURNAL_NAME = "journal.jsonl"
_HEAD = b'{"crc32c":"%08x","record":'
_HEAD_BYTES = len(_HEAD % 0)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a stretch of a journal holds."""

    records: tuple[bytes, ...]
    """JSON of each sound record, in order."""
    n_whole_bytes: int
    """Up to the last newline."""
    damaged_lines: tuple[int, ...]
    """Numbers, from 1, of lines that are whole but not as they were written: a broken disk or an edit, no crash."""
    torn_bytes: int
    """Behind the last newline: a line cut off by a crash, or one that is being written now."""


def encode(record: bytes) -> bytes:
    """Return the line of one record."""
    return _HEAD % crc32c(record) + record + b"}\n"


def checksum_in(line: bytes) -> str:
    """Return the checksum in a line, or in its beginning.

    >>> checksum_in(encode(b'{"a":1}'))
    'cff7d56a'
    """
    return line[len(b'{"crc32c":"') :][:8].decode("ascii", "replace")


def decode(line: bytes) -> bytes | None:
    """Return the record of one line, or None when the line is damaged; ``decode(encode(r)) == r``."""
    record = line[_HEAD_BYTES:-2]
    return record if line == encode(record) else None


def scan(data: bytes) -> Scan:
    """Read lines, tell sound from torn from damaged; never raises.

    A write that a crash cut short leaves the beginning of a line and no newline, perhaps with zeros behind it (a file
    system that lengthened the file first). All that ends with a newline was whole once: damage, wherever it is.
    """
    *lines, tail = data.split(b"\n")
    records = [decode(line + b"\n") for line in lines]
    damaged = [number for number, record in enumerate(records, start=1) if record is None]
    if _holds_whole_record(tail):
        damaged.append(len(records) + 1)
    sound = tuple(record for record in records if record is not None)
    return Scan(sound, len(data) - len(tail), tuple(damaged), len(tail))


def _holds_whole_record(tail: bytes) -> bool:
    """Tell whether more follows where a newline should: it was overwritten, and the record before it is not torn."""
    text = tail.decode("latin-1")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return end < len(text)
