"""Volumes of files, as training reads them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from care_live.images import PlaneIndex
from care_live.recorded import open_recording
from care_live.training.data import volumes
from care_live.training.data.loading import gather
from tests.conftest import need_data
from tests.training.conftest import blobs, small_recipe


def test_a_data_set_of_micro_manager_is_read_by_volume() -> None:
    folder = need_data("ndtiff_micromanager") / "v3/ndtiff3.2_multichannel"
    axes, sizes = volumes.look(folder, "*.tif*", None)
    found = volumes.find(folder, "*.tif*", axes)
    assert (sizes["T"], sizes["C"], sizes["Z"]) == (8, 2, 16)
    assert len(found) == 8
    stored = found["t3-p0"].image
    assert stored.shape == (2, 16, sizes["Y"], sizes["X"])
    with contextlib.closing(open_recording(folder)) as recording:
        assert np.array_equal(stored[1, 5], recording.read_plane(PlaneIndex(3, 0, 1, 5)))


def test_zarr_is_read_as_it_is_needed(tmp_path: Path) -> None:
    for name, gain in (("low", 1), ("high", 20)):
        stack = np.stack([100 + gain * blobs(t, (6, 48, 48)) for t in range(3)])[:, None].astype(np.uint16)
        zarr.create_array(tmp_path / f"{name}.zarr", data=stack, chunks=(1, 1, 6, 16, 16))
    recipe = small_recipe(
        tmp_path, data={"inputs": [str(tmp_path / "low.zarr")], "target": str(tmp_path / "high.zarr")}
    )
    data = gather(recipe)
    assert len(data.training) == 2
    patch = data.training[1].cut((0, 8, 8), (6, 16, 16), None)
    assert patch.input.shape == (1, 6, 16, 16)
    assert patch.input == pytest.approx(patch.target, abs=0.02)  # another gain is another span, and nothing else


def test_a_file_that_names_its_axes_is_known_from_one_that_does_not(tmp_path: Path) -> None:
    movie = np.zeros((5, 16, 16), np.uint16)
    for name, metadata in (("named", {"axes": "TYX"}), ("unnamed", None)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "v.tif", movie, photometric="minisblack", imagej=False, metadata=metadata)
    assert volumes.names_axes(tmp_path / "named", "*.tif*")
    assert not volumes.names_axes(tmp_path / "unnamed", "*.tif*")
    assert volumes.look(tmp_path / "unnamed", "*.tif*", None)[0] == "ZYX"
