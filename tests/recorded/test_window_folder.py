"""Folders of Micro-Manager's window, also while images still come."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import tifffile

from care_live.recorded import open_recording
from care_live.recorded.window_folder import WindowFolder
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


def test_images_that_come_one_after_the_other_are_given_once(tmp_path: Path) -> None:
    source = need_data("micromanager_window/separate_image_files")
    for position in ("worm-a", "worm-b"):
        (tmp_path / position).mkdir()
        shutil.copyfile(source / position / "metadata.txt", tmp_path / position / "metadata.txt")
    images = sorted(path.relative_to(source) for path in source.rglob("*.tif"))
    given: list[Path] = []
    with closing(WindowFolder(tmp_path, "separate image files")) as folder:
        for n_there in (0, 3, 3, len(images)):
            for name in images[len(given) : n_there]:
                shutil.copyfile(source / name, tmp_path / name)
            found = folder.look()
            assert len(found) == n_there - len(given)
            given += [image.path.relative_to(tmp_path) for image in found]
        assert sorted(given) == images
