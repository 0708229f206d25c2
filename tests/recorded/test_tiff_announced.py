"""What a TIFF's text announces is compared with its file before memory is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import tifffile

from tests.recorded.damage import (
    PIXELS,
    cut,
    imagej,
    pages,
    patch,
    read,
    real_imagej,
    refused,
    set_tag,
)


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
