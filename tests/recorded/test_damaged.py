"""Files that were cut or damaged: one line of ours, and never pixels that the format shows to be wrong."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.errors import CareLiveError, SourceError
from tests.recorded.damage import (
    EVERY,
    DataSet,
    cut,
    damaged,
    ndtiff,
    ome_zarr,
    plain,
    read,
    refused,
)


@pytest.mark.parametrize("kind", EVERY)
def test_damage_leaves_as_an_error_of_ours(tmp_path: Path, kind: str) -> None:
    data_set, dice = EVERY[kind](tmp_path), random.Random(kind)
    sound = data_set.file.read_bytes()
    for _ in range(100):
        data_set.file.write_bytes(damaged(sound, dice))
        try:
            read(data_set)
        except CareLiveError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("kind", EVERY)
def test_what_is_left_of_a_cut_file_is_never_something_else(tmp_path: Path, kind: str) -> None:
    data_set, dice = EVERY[kind](tmp_path), random.Random(kind)
    sound, planes = data_set.file.read_bytes(), read(data_set)
    for _ in range(30):
        cut(data_set, dice.randrange(len(sound)))
        try:
            left = read(data_set)
        except CareLiveError:
            left = planes
        data_set.file.write_bytes(sound)
        assert left.keys() == planes.keys()
        for index, plane in left.items():
            np.testing.assert_array_equal(plane, planes[index])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    data_set = ndtiff(tmp_path)
    data_set.file.unlink()
    os.mkfifo(data_set.file)
    assert "0 of 4 images are whole" in refused(data_set)


def test_images_of_two_kinds_are_not_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as writer:
        for shape in ((24, 32), (24, 32), (20, 32)):
            writer.write(np.ones(shape, np.uint16), photometric="minisblack", contiguous=False, metadata=None)
    assert "3 images, but only 2 belong together" in refused(DataSet(path, "TYX", path))


def test_a_plain_file_without_its_last_header_is_refused(tmp_path: Path) -> None:
    data_set = plain(tmp_path)
    cut(data_set, data_set.file.stat().st_size - 100)
    assert "11 images are whole" in refused(data_set)


def test_a_chunk_that_was_cut_is_refused(tmp_path: Path) -> None:
    """Blosc's decoder reads on behind its end."""
    data_set = ome_zarr(tmp_path)
    cut(data_set, data_set.file.stat().st_size - 7)
    with pytest.raises(SourceError, match=r"plane t=0 p=0 c=0 z=2 .* cut or is damaged"):
        read(data_set)
