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
    PIXELS,
    DataSet,
    cut,
    damaged,
    deflated,
    imagej,
    ndtiff,
    ome,
    ome_zarr,
    pages,
    patch,
    plain,
    read,
    real_imagej,
    refused,
    set_tag,
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


@pytest.mark.parametrize("n_headers", [12, 1])
def test_an_imagej_file_that_was_cut_says_how_much_is_whole(tmp_path: Path, n_headers: int) -> None:
    """Often one header stands for all images; tifffile would return the first one alone."""
    data_set = imagej(tmp_path)
    with tifffile.TiffFile(data_set.path) as file:
        first = file.pages.first
        link_at, start = first.offset + 2 + 12 * len(first.tags), first.dataoffsets[0]
    if n_headers == 1:
        patch(data_set.file, link_at, bytes(4))
        assert len(read(data_set)) == 12
    cut(data_set, start + 9 * PIXELS[0, 0].nbytes + 10)
    assert "9 of 12 images are whole. Copy the file again" in refused(data_set)


def test_a_real_imagej_file_that_was_cut_says_how_much_is_whole(tmp_path: Path) -> None:
    data_set = real_imagej(tmp_path)
    cut(data_set, data_set.file.stat().st_size // 2)
    assert " of 336 images are whole" in refused(data_set)


@pytest.mark.parametrize(
    ("tag", "value", "says"),
    [
        ("ImageWidth", 1 << 31, "announces planes of"),
        ("StripOffsets", 1 << 30, "cut or damaged"),
        ("StripOffsets", 16, "overlap"),
        ("StripByteCounts", 100, "strips"),
    ],
)
def test_a_header_that_contradicts_its_file_is_refused(tmp_path: Path, tag: str, value: int, says: str) -> None:
    data_set = pages(tmp_path)._replace(axes="YX" if tag == "ImageWidth" else "TYX")
    set_tag(data_set.file, tag, value)
    assert says in refused(data_set)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    data_set = ndtiff(tmp_path)
    data_set.file.unlink()
    os.mkfifo(data_set.file)
    assert "0 of 4 images are whole" in refused(data_set)


def test_a_strip_that_does_not_decode_names_its_plane(tmp_path: Path) -> None:
    data_set = deflated(tmp_path)
    with tifffile.TiffFile(data_set.path) as file:
        start = file.pages[6].dataoffsets[1]
    patch(data_set.file, start + 2, bytes(8))
    assert "plane t=1 p=0 c=0 z=2 of" in refused(data_set)


def test_a_missing_strip_is_no_zeros(tmp_path: Path) -> None:
    data_set = deflated(tmp_path)
    with tifffile.TiffFile(data_set.path) as file:
        counts = file.pages[2].aspage().tags["StripByteCounts"]
        start, width = counts.valueoffset, counts.valuebytecount // counts.count
    patch(data_set.file, start, bytes(width))
    assert "strips are missing" in refused(data_set)


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


@pytest.mark.parametrize(("size", "n_times"), [(b'SizeZ="4" SizeT="4"', 3), (b'SizeZ="5" SizeT="3"', 3)])
def test_planes_that_were_never_recorded_are_absent_and_not_zero(tmp_path: Path, size: bytes, n_times: int) -> None:
    """An acquisition that its user stopped: the OME-XML announces more planes than it places."""
    data_set = ome(tmp_path)
    patch(data_set.file, data_set.file.read_bytes().index(b'SizeZ="4" SizeT="3"'), size)
    planes = read(data_set)
    assert len(planes) == 12
    assert len({index.t for index in planes}) == n_times
    np.testing.assert_array_equal(list(planes.values()), PIXELS.reshape(12, 24, 32))
