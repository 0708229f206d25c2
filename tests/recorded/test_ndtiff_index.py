"""An index that asks for more than there is."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from care_live.errors import SourceError
from care_live.recorded.ndtiff_index import entries
from tests.recorded.damage import (
    ndtiff_index,
    patch,
    read,
)


def test_metadata_without_end_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """The file is long enough for it: Micro-Manager makes it 4 GiB long before the first image comes."""
    data_set = ndtiff_index(tmp_path)
    index = data_set.file.read_bytes()
    end = next(end for end, _ in entries(index))
    patch(data_set.file, end - 8, struct.pack("<I", 3 << 30))
    with next(data_set.path.glob("*.tif")).open("r+b") as file:
        file.truncate(1 << 32)
    with pytest.raises(SourceError, match="damaged"):
        read(data_set)
