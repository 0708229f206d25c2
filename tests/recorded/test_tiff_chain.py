"""Files of many images, one header after the other."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import tifffile

from care_live.errors import SourceError
from care_live.recorded import open_recording
from tests.recorded.damage import (
    PIXELS,
    DataSet,
    cut,
    ome,
    ome_zarr_header,
    pages,
    patch,
    refused,
)


def test_a_chain_that_was_cut_says_how_many_images_are_whole(tmp_path: Path) -> None:
    data_set = pages(tmp_path)
    cut(data_set, data_set.file.stat().st_size // 2)
    assert "5 images are whole" in refused(data_set)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "movie.tif").write_bytes(b"")
    with pytest.raises(SourceError, match="it is empty: copy it again"):
        open_recording(tmp_path / "movie.tif")


@pytest.mark.parametrize("n_images", [12, 150], ids=["short", "longer-than-tifffile-looks"])
def test_a_chain_in_circles_is_refused(tmp_path: Path, n_images: int) -> None:
    path = tmp_path / "circle.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(n_images):
            writer.write(PIXELS[0, 0], photometric="minisblack", contiguous=False, metadata=None)
    with tifffile.TiffFile(path) as file:
        last, third = file.pages[n_images - 1], file.pages[2].offset
        link_at = last.offset + 2 + 12 * len(last.aspage().tags)
    patch(path, link_at, struct.pack("<I", third))
    assert "circles" in refused(DataSet(path, "TYX", path))


def test_planes_without_end_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    data_set = ome(tmp_path)
    data = data_set.file.read_bytes()
    start = data.index(b'SizeC="1" SizeZ="4" SizeT="3"')
    patch(data_set.file, start, b'SizeZ="99999999" SizeT="9999"')
    assert "announces 999899990001 planes" in refused(data_set)


def test_chunks_without_end_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    data_set = ome_zarr_header(tmp_path)
    tree = json.loads(data_set.file.read_text())
    tree["chunk_grid"]["configuration"]["chunk_shape"] = [1, 2, 100_000, 100_000]
    data_set.file.write_text(json.dumps(tree))
    assert "chunks of 40000000000 bytes" in refused(data_set)
