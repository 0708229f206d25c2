"""Files of microscopes' makers: one line where bioio is missing; with it, planes and metadata as it gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.errors import ConfigError
from care_live.images import PlaneIndex
from care_live.imports import need
from care_live.offline import plan_archive
from care_live.recorded import VENDOR_SUFFIXES, open_recording
from care_live.recorded.vendor_file import VendorRecording


@pytest.mark.parametrize("suffix", VENDOR_SUFFIXES)
def test_without_bioio_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """That for CZI is under another licence, so it is an extra of its own."""
    extra = "czi" if suffix == ".czi" else "formats"
    monkeypatch.setitem(__import__("sys").modules, "bioio", None)
    path = tmp_path / f"cells{suffix}"
    path.write_bytes(b"\0" * 100)
    with pytest.raises(ConfigError, match=rf"pip install 'care-live\[{extra}\]'"):
        open_recording(path)


def test_a_folder_of_such_files_is_an_archive(tmp_path: Path) -> None:
    for name in ("a.nd2", "b.CZI", "notes.txt"):
        (tmp_path / name).write_bytes(b"\0" * 100)
    plan = plan_archive([tmp_path], tmp_path.parent / "out", axes=None, keep_raw=True, as_tiff=False)
    assert [entry.data_set.path.name for entry in plan.entries] == ["a.nd2", "b.CZI"]
    assert all(entry.error for entry in plan.entries)


@pytest.mark.filterwarnings("ignore")  # of bioio and its plugins
def test_scenes_are_positions(tmp_path: Path) -> None:
    """An OME-TIFF stands for the makers' files, which no library writes: bioio gives all of them alike."""
    pytest.importorskip("bioio", reason="bioio is not installed: pip install 'care-live[formats]' bioio-ome-tiff")
    pytest.importorskip("bioio_ome_tiff", reason="bioio-ome-tiff is not installed")
    pixels = np.random.default_rng(0).integers(0, 900, (2, 3, 2, 4, 8, 9)).astype(np.uint16)  # (p, t, c, z, y, x)
    with tifffile.TiffWriter(tmp_path / "two.ome.tif", ome=True) as tiff:
        for scene in pixels:
            tiff.write(scene, metadata={"axes": "TCZYX", "PhysicalSizeX": 0.25, "PhysicalSizeZ": 2.0})
    recording = VendorRecording(tmp_path / "two.ome.tif", need("bioio", extra="formats"))
    plan = recording.contents.plan
    assert (plan.shape_px, plan.dtype, len(plan.positions), len(plan.channels)) == ((8, 9), "uint16", 2, 2)
    assert (plan.voxel_size_um[0], plan.voxel_size_um[2]) == (2.0, 0.25)
    assert len(recording.contents.order) == 2 * 3 * 2 * 4
    for index in (PlaneIndex(0, 0, 0, 0), PlaneIndex(2, 1, 1, 3), PlaneIndex(1, 0, 1, 2)):
        np.testing.assert_array_equal(recording.read_plane(index), pixels[index.p, index.t, index.c, index.z])
