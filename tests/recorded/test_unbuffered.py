"""A file that grows is read as it is now, and never further."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.errors import SourceError
from care_live.recorded.unbuffered import UnbufferedFile


def test_what_was_zero_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(bytes(8))
    file = UnbufferedFile(path)
    try:
        assert bytes(file.read(0, 4)) == bytes(4)
        with path.open("r+b") as writer:
            writer.write(b"abcdefgh")
        assert bytes(file.read(2, 4)) == b"cdef"
        with path.open("ab") as writer:
            writer.write(b"ij")
        assert file.n_bytes == 10
        assert bytes(file.read(6, 4)) == b"ghij"
    finally:
        file.close()


def test_never_fewer_bytes_than_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(b"abc")
    file = UnbufferedFile(path)
    try:
        with pytest.raises(SourceError, match=r"cut ends after 3 bytes; wanted at least 1000000002"):
            file.read(2, 10**9)  # more than this machine would give for nothing
        assert not file.read(3, 0).size
    finally:
        file.close()


@pytest.mark.parametrize("name", [".", "none", "a\0b"], ids=["a folder", "no file", "no name"])
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"is not a file|cannot open"):
        UnbufferedFile(tmp_path / name)
