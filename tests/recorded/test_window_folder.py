"""Folders of Micro-Manager's window."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.errors import SourceError
from care_live.images import VolumeKey
from care_live.recorded import open_recording
from tests.conftest import need_data


def test_the_windows_image_stack_files_are_read_as_separate_files_are() -> None:
    folder = need_data("micromanager_window/image_stack_files")
    recording = open_recording(folder / "mp_1_MMStack_worm-a.ome.tif")
    for p, name in enumerate(("worm-a", "worm-b")):
        with tifffile.TiffFile(folder / f"mp_1_MMStack_{name}.ome.tif") as file:
            pages = [file.pages[i].asarray() for i in range(20)]
        indices = [index for index in recording.contents.order if index.p == p]
        in_file = sorted(indices, key=lambda index: (index.t, index.z, index.c))
        for index, page in zip(in_file, pages, strict=True):
            np.testing.assert_array_equal(recording.read_plane(index), page)
    recording.close()


@pytest.mark.parametrize("name", ["image_stack_files", "separate_image_files"])
def test_a_folder_of_the_windows_other_formats_is_read_as_tifffile_reads_its_files(name: str) -> None:
    folder = need_data("micromanager_window") / name
    recording = open_recording(folder)
    plan = recording.contents.plan
    assert (plan.positions, plan.channels) == (("worm-a", "worm-b"), ("DAPI", "FITC"))
    assert (plan.voxel_size_um, plan.interval_s) == ((1.0, 1.0, 1.0), 0.1)
    assert plan.stacks == {VolumeKey(t, p, c): (0, 1, 2, 3, 4) for t in (0, 1) for p in (0, 1) for c in (0, 1)}
    for p, position in enumerate(plan.positions):
        indices = sorted((i for i in recording.contents.order if i.p == p), key=lambda i: (i.t, i.z, i.c))
        for number, (t, _, c, z) in enumerate(indices):
            if name == "image_stack_files":
                with tifffile.TiffFile(folder / f"mp_1_MMStack_{position}.ome.tif") as file:
                    page = file.pages[number].asarray()
            else:
                page = tifffile.imread(folder / position / f"img_channel00{c}_position00{p}_time00000000{t}_z00{z}.tif")
            np.testing.assert_array_equal(recording.read_plane(indices[number]), page)
    elapsed = [recording.stamp(index).elapsed_us for index in recording.contents.order]
    assert elapsed == sorted(elapsed) and elapsed[-1] - elapsed[0] > 1e6
    recording.close()


@pytest.mark.parametrize("name", ["image_stack_files", "separate_image_files"])
def test_a_folder_of_the_window_that_was_cut_is_refused(tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(need_data("micromanager_window") / name, copy, copy_function=shutil.copyfile)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)
    victim = sorted(copy.rglob("*.tif"))[-1]
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size - (500_000 if name == "image_stack_files" else 9)])
    with pytest.raises(SourceError, match=rf"{victim.name} was cut: \d+ images of"):
        open_recording(copy)
