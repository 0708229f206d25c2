"""The index of images is read while its writer appends to it: whole entries only, each once."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from care_live.errors import SourceError
from care_live.source.index_tail import IndexTail

PADDING = bytes(1000)


def entry(z: int) -> bytes:
    """Return an entry as Micro-Manager writes it: axes, file, and where in the file pixels and metadata lie."""
    axes, file = json.dumps({"z": z}).encode(), b"a_NDTiffStack.tif"
    fields = [struct.pack("<I", len(text)) + text for text in (axes, file)]
    return b"".join([*fields, struct.pack("<8I", 8 + 100 * z, 4, 4, 1, 0, 50 + 100 * z, 10, 0)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "NDTiff.index"


def heights(tail: IndexTail) -> list[int]:
    return [one.axes["z"] for one in tail.read()]


def test_entries_are_read_once_as_they_become_whole(path: Path) -> None:
    tail = IndexTail(path)
    assert heights(tail) == [], "it is not there yet"
    path.write_bytes(entry(0) + entry(1)[:-9])
    assert heights(tail) == [0]
    path.write_bytes(entry(0) + entry(1) + entry(2) + PADDING)
    assert heights(tail) == [1, 2]
    assert heights(tail) == []


def test_it_is_finished_when_the_writer_has_cut_the_padding_off(path: Path) -> None:
    tail = IndexTail(path)
    path.write_bytes(entry(0) + PADDING)
    assert heights(tail) == [0] and not tail.is_finished
    path.write_bytes(entry(0))
    assert heights(tail) == [] and tail.is_finished


def test_an_entry_may_be_read_again(path: Path) -> None:
    path.write_bytes(entry(0) + entry(1) + PADDING)
    tail = IndexTail(path)
    _, second = tail.read()
    tail.go_back_to(second)
    assert heights(tail) == [1]


def test_an_index_that_was_written_anew_or_is_broken_is_refused(path: Path) -> None:
    path.write_bytes(entry(0) + entry(1))
    tail = IndexTail(path)
    assert heights(tail) == [0, 1]
    path.write_bytes(entry(0))
    with pytest.raises(SourceError, match=r"bytes, .* were read: it was written anew"):
        tail.read()
    path.write_bytes(struct.pack("<I", 1 << 31) + PADDING)
    with pytest.raises(SourceError, match="it is broken"):
        IndexTail(path).read()
