"""Files of microscopes' makers: one line where bioio is missing; with it, planes and metadata as it gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from care_live.errors import ConfigError, SourceError
from care_live.images import PlaneIndex
from care_live.imports import need
from care_live.offline import plan_archive
from care_live.recorded import VENDOR_SUFFIXES, is_data_set, open_recording, scene_in
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


def test_a_scene_is_named_as_if_it_lay_in_a_folder(tmp_path: Path) -> None:
    """Leica's projects hold images of every size in one file."""
    project = tmp_path / "project.lif"
    project.write_bytes(b"\0" * 100)
    assert scene_in(project) == (project, "")
    assert scene_in(project / "day 2" / "Series 3") == (project, "day 2/Series 3")
    assert is_data_set(project / "Series 3") and not is_data_set(tmp_path / "other.lif" / "Series 3")
    with pytest.raises(ConfigError, match="there is no data set"):
        open_recording(tmp_path / "other.lif" / "Series 3")
    plan = plan_archive([project / "Series 3", project], tmp_path / "out", axes=None, keep_raw=True, as_tiff=False)
    assert [entry.data_set.path for entry in plan.entries] == [project / "Series 3", project]


def scenes_of(path: Path, *sizes: tuple[int, ...]) -> list[NDArray[np.uint16]]:
    """Write scenes, (t, c, z, y, x), to an OME-TIFF."""
    pytest.importorskip("bioio", reason="bioio is not installed: pip install 'care-live[formats]' bioio-ome-tiff")
    pytest.importorskip("bioio_ome_tiff", reason="bioio-ome-tiff is not installed")
    rng = np.random.default_rng(0)
    scenes = [rng.integers(0, 900, size).astype(np.uint16) for size in sizes]
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for scene in scenes:
            tiff.write(scene, metadata={"axes": "TCZYX", "PhysicalSizeX": 0.25, "PhysicalSizeZ": 2.0})
    return scenes


@pytest.mark.filterwarnings("ignore")  # of bioio and its plugins
def test_of_scenes_of_several_sizes_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    _, second = scenes_of(path, (1, 2, 4, 8, 9), (2, 1, 3, 16, 9))
    bioio = need("bioio", extra="formats")
    with pytest.raises(SourceError, match=r"Image:0'; it has Image:0 \(2 C x 4 Z x 8 Y x 9 X\), Image:1 \(2 T x 3 Z"):
        VendorRecording(path, bioio)
    with pytest.raises(SourceError, match=r"has no scene 'Image:7'; it has Image:0, Image:1"):
        VendorRecording(path, bioio, scene="Image:7")
    recording = VendorRecording(path, bioio, scene="Image:1")
    assert (recording.contents.plan.shape_px, recording.contents.plan.positions) == ((16, 9), ("Image:1",))
    np.testing.assert_array_equal(recording.read_plane(PlaneIndex(1, 0, 0, 2)), second[1, 0, 2])


@pytest.mark.filterwarnings("ignore")  # of bioio and its plugins
def test_scenes_are_positions(tmp_path: Path) -> None:
    """An OME-TIFF stands for the makers' files, which no library writes: bioio gives all of them alike."""
    pixels = scenes_of(tmp_path / "two.ome.tif", (3, 2, 4, 8, 9), (3, 2, 4, 8, 9))  # (t, c, z, y, x) each
    recording = VendorRecording(tmp_path / "two.ome.tif", need("bioio", extra="formats"))
    plan = recording.contents.plan
    assert (plan.shape_px, plan.dtype, len(plan.positions), len(plan.channels)) == ((8, 9), "uint16", 2, 2)
    assert (plan.voxel_size_um[0], plan.voxel_size_um[2]) == (2.0, 0.25)
    assert len(recording.contents.order) == 2 * 3 * 2 * 4
    for index in (PlaneIndex(0, 0, 0, 0), PlaneIndex(2, 1, 1, 3), PlaneIndex(1, 0, 1, 2)):
        np.testing.assert_array_equal(recording.read_plane(index), pixels[index.p][index.t, index.c, index.z])
