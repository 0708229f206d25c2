"""Image stack files of Micro-Manager's window that are damaged."""

from __future__ import annotations

from pathlib import Path

import tifffile

from tests.conftest import need_data
from tests.recorded.damage import (
    PIXELS,
    DataSet,
    ome,
    patch,
    refused,
    set_tag,
)


def test_images_that_no_plane_is_made_of_betray_a_damaged_text(tmp_path: Path) -> None:
    data_set = ome(tmp_path)
    patch(data_set.file, data_set.file.read_bytes().index(b'PlaneCount="12"'), b'PlaneC_unt="12"')
    assert "places 1 of its 12 images" in refused(data_set)


def test_a_second_series_does_not_take_the_place_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for stack in PIXELS[:2]:
            writer.write(stack, photometric="minisblack", metadata={"axes": "ZYX"})
    set_tag(path, "BitsPerSample", 8)
    refused(DataSet(path, None, path))


def test_an_image_stack_file_that_was_cut_says_how_much_is_whole(tmp_path: Path) -> None:
    """Its OME-XML lies behind the last image, and the first header names it."""
    source = need_data("micromanager_window/image_stack_files/mp_1_MMStack_worm-a.ome.tif")
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes()[:3_800_000])
    with tifffile.TiffFile(source) as file:
        ends = [page.dataoffsets[0] + page.nbytes for page in file.pages]
    n_whole = sum(end <= 3_800_000 for end in ends)
    assert 0 < n_whole < 20
    assert f"; {n_whole} images are whole" in refused(DataSet(path, None, path))
