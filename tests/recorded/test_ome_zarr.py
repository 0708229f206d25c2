"""OME-Zarr, as others have written it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from care_live.errors import SourceError
from care_live.images import PlaneIndex
from care_live.recorded import open_recording
from tests.conftest import need_data
from tests.make.plates import write_plate
from tests.make.recordings import same_everywhere


def test_real_plate_is_positions() -> None:
    path = need_data("ome_zarr_hcs_plate/single-plane-hcs.zarr")
    recording = open_recording(path)
    plan = recording.contents.plan
    assert plan.positions == ("E/08/0", "E/07/0")
    assert plan.voxel_size_um == pytest.approx((1.0, 2.7336, 2.7336))
    direct = np.stack([zarr.open_array(path / name / "0", mode="r")[:] for name in plan.positions])
    same_everywhere(recording, direct, "PCYX")
    recording.close()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_versions(tmp_path: Path, version: str) -> None:
    pixels = np.random.default_rng(3).integers(0, 65535, (2, 2, 5, 24, 32), np.uint16)
    path = tmp_path / "image.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    array = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 1, 2, 16, 16))
    array[:] = pixels
    multiscales = [
        {
            "axes": [
                {"name": "t", "type": "time", "unit": "millisecond"},
                {"name": "c", "type": "channel"},
                *({"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"),
            ],
            "datasets": [
                {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [250, 1, 2000, 200, 100]}]}
            ],
        }
    ]
    if version == "0.4":
        group.attrs["multiscales"] = multiscales
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    recording = open_recording(path)
    same_everywhere(recording, pixels, "TCZYX")
    assert recording.contents.plan.voxel_size_um == pytest.approx((2.0, 0.2, 0.1))
    assert recording.stamp(PlaneIndex(t=1)).elapsed_us == 250_000
    recording.close()


def test_an_address_is_read_by_zarrs_own_stores() -> None:
    """Any file system of fsspec will do: here one in memory, as ``s3://`` on a server."""
    pytest.importorskip("fsspec")
    address = "memory://bucket/plate.zarr"
    pixels = np.arange(2 * 3 * 8 * 9, dtype=np.uint16).reshape(2, 3, 8, 9)
    write_plate(address, ["A/1"], pixels)
    recording = open_recording(address)
    assert recording.contents.plan.positions == ("A/1/0", "A/1/1")
    same_everywhere(recording, pixels, "PZYX")
    recording.close()
    with pytest.raises(SourceError, match="cannot be read as OME-Zarr"):
        open_recording("memory://bucket/none.zarr")
