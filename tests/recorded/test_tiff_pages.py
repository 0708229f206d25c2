"""Planes of a TIFF whose strips are missing, or do not decode, are named, and are no zeros."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.recorded.damage import (
    PIXELS,
    deflated,
    ome,
    patch,
    read,
    refused,
)


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


@pytest.mark.parametrize(("size", "n_times"), [(b'SizeZ="4" SizeT="4"', 3), (b'SizeZ="5" SizeT="3"', 3)])
def test_planes_that_were_never_recorded_are_absent_and_not_zero(tmp_path: Path, size: bytes, n_times: int) -> None:
    """An acquisition that its user stopped: the OME-XML announces more planes than it places."""
    data_set = ome(tmp_path)
    patch(data_set.file, data_set.file.read_bytes().index(b'SizeZ="4" SizeT="3"'), size)
    planes = read(data_set)
    assert len(planes) == 12
    assert len({index.t for index in planes}) == n_times
    np.testing.assert_array_equal(list(planes.values()), PIXELS.reshape(12, 24, 32))
