"""Lines of the journal: sound, torn by a crash, or damaged by a disk."""

from __future__ import annotations

import pytest

from care_live.recorded.journal_lines import decode, encode, scan

RECORDS = (b'{"kind":"raw","t":0}', b'{"kind":"raw","t":1}', b'{"kind":"run-ended"}')
LINES = b"".join(map(encode, RECORDS))


def test_a_line_comes_back_as_it_was_and_a_changed_one_not() -> None:
    line = encode(RECORDS[0])
    assert decode(line) == RECORDS[0]
    for at in range(len(line)):
        assert decode(line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]) is None


@pytest.mark.parametrize("n_bytes", range(len(LINES) + 1))
def test_whatever_a_crash_leaves_is_torn_and_never_damaged(n_bytes: int) -> None:
    found = scan(LINES[:n_bytes])
    assert found.records == RECORDS[: LINES[:n_bytes].count(b"\n")]
    assert (found.damaged_lines, found.n_whole_bytes + found.torn_bytes) == ((), n_bytes)


def test_zeros_behind_a_torn_line_are_torn_too() -> None:
    found = scan(LINES[:-5] + bytes(100))
    assert (len(found.records), found.damaged_lines) == (2, ())


def test_a_line_that_a_disk_changed_is_named() -> None:
    found = scan(LINES.replace(b'"t":1', b'"t":7'))
    assert (found.records, found.damaged_lines, found.torn_bytes) == ((RECORDS[0], RECORDS[2]), (2,), 0)


def test_a_newline_that_was_overwritten_is_damage() -> None:
    assert scan(LINES[:-1] + b"x").damaged_lines == (3,)
