"""Voxel sizes, times and names as OME-XML and ImageJ write them, in whatever unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.images import PlaneIndex
from care_live.recorded.ome_xml import About, describe

PIXELS = np.zeros((2, 3, 8, 8), np.uint16)


def about(path: Path, axes: str = "TZYX", **options: object) -> About:
    tifffile.imwrite(path, PIXELS, **options)
    with tifffile.TiffFile(path) as file:
        return describe(file, axes)


@pytest.mark.parametrize(("unit", "size"), [("µm", 0.5), ("nm", 500.0), ("mm", 5e-4)])
def test_ome_sizes_are_micrometres_whatever_unit_they_have(tmp_path: Path, unit: str, size: float) -> None:
    metadata = {
        "axes": "TZYX", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit, "PhysicalSizeY": size,
        "PhysicalSizeYUnit": unit, "PhysicalSizeZ": 2.0, "PhysicalSizeZUnit": "µm", "TimeIncrement": 2.0,
        "TimeIncrementUnit": "min", "Channel": {"Name": ["GFP"]},
    }  # fmt: skip
    found = about(tmp_path / "a.ome.tif", ome=True, metadata=metadata)
    assert found.voxel_size_um == pytest.approx((2.0, 0.5, 0.5))
    assert found.interval_s == 120.0
    assert found.channels(1) == ("GFP",)
    assert found.channels(2) == ("channel 0", "channel 1"), "names that are too few are made up"
    assert found.stamp(PlaneIndex(3, 0, 0, 0)).elapsed_us == 360_000_000


def test_each_plane_has_its_own_time_where_the_file_says_so(tmp_path: Path) -> None:
    metadata = {"axes": "TZYX", "Plane": {"DeltaT": [float(i) for i in range(6)], "ExposureTime": [0.01] * 6}}
    found = about(tmp_path / "a.ome.tif", ome=True, metadata=metadata)
    stamp = found.stamp(PlaneIndex(1, 0, 0, 2))
    assert (stamp.elapsed_us, stamp.exposure_ms) == (5_000_000, 10.0)


def test_imagej_says_a_unit_and_resolutions(tmp_path: Path) -> None:
    found = about(
        tmp_path / "a.tif",
        imagej=True,
        resolution=(4.0, 4.0),
        metadata={"axes": "TZYX", "unit": "um", "spacing": -1.5, "finterval": 0.5},
    )
    assert found.voxel_size_um == pytest.approx((1.5, 0.25, 0.25)), "ImageJ gives some sizes a sign"
    assert found.interval_s == 0.5


def test_a_unit_that_is_not_known_gives_no_size(tmp_path: Path) -> None:
    found = about(tmp_path / "a.tif", imagej=True, resolution=(4.0, 4.0), metadata={"axes": "TZYX", "unit": "ell"})
    assert found.voxel_size_um == (1.0, 1.0, 1.0)


def test_a_plain_file_says_nothing(tmp_path: Path) -> None:
    found = about(tmp_path / "a.tif", metadata=None, photometric="minisblack")
    assert found == About()
    assert found.positions(1) == ("default",)
    assert found.stamp(PlaneIndex(0, 0, 0, 0)).elapsed_us is None
