"""Images that an NDTiff's index does not name are counted, and no data set passes for a shorter one."""

from __future__ import annotations

from pathlib import Path

from tests.recorded.damage import (
    cut,
    ndtiff,
    ndtiff_index,
    refused,
)


def test_an_index_that_was_cut_is_refused(tmp_path: Path) -> None:
    data_set = ndtiff_index(tmp_path)
    cut(data_set, data_set.file.stat().st_size // 2)
    assert "the index was cut" in refused(data_set)


def test_an_ndtiff_that_was_cut_says_how_much_is_whole(tmp_path: Path) -> None:
    data_set = ndtiff(tmp_path)
    cut(data_set, data_set.file.stat().st_size - 100)
    assert "3 of 4 images are whole. Copy the data set again" in refused(data_set)
