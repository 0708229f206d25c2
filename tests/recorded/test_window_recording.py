"""A finished acquisition of Micro-Manager's window is read whole, or refused with the file that is wrong."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.errors import SourceError
from care_live.images import PlaneIndex, VolumeKey
from care_live.recorded.window_folder import Format
from care_live.recorded.window_recording import WindowRecording
from tests.conftest import need_data

FOLDERS: dict[Format, str] = {
    "image stack file": "image_stack_files",
    "separate image files": "separate_image_files",
}


@pytest.mark.parametrize("format_name", FOLDERS)
def test_a_folder_of_the_windows_other_formats_is_read_as_tifffile_reads_its_files(format_name: Format) -> None:
    folder = need_data("micromanager_window") / FOLDERS[format_name]
    with closing(WindowRecording(folder, format_name)) as recording:
        plan = recording.contents.plan
        assert (plan.positions, plan.channels) == (("worm-a", "worm-b"), ("DAPI", "FITC"))
        assert (plan.voxel_size_um, plan.interval_s) == ((1.0, 1.0, 1.0), 0.1)
        assert plan.stacks == {VolumeKey(t, p, c): (0, 1, 2, 3, 4) for t in (0, 1) for p in (0, 1) for c in (0, 1)}
        assert (recording.contents.summary["format"], recording.contents.summary["path"]) == (format_name, str(folder))
        for p, position in enumerate(plan.positions):
            indices = sorted((i for i in recording.contents.order if i.p == p), key=lambda i: (i.t, i.z, i.c))
            for number, (t, _, c, z) in enumerate(indices):
                if format_name == "image stack file":
                    with tifffile.TiffFile(folder / f"mp_1_MMStack_{position}.ome.tif") as file:
                        page = file.pages[number].asarray()
                else:
                    name = f"img_channel00{c}_position00{p}_time00000000{t}_z00{z}.tif"
                    page = tifffile.imread(folder / position / name)
                np.testing.assert_array_equal(recording.read_plane(indices[number]), page)
        elapsed = [recording.stamp(index).elapsed_us for index in recording.contents.order]
        assert elapsed == sorted(elapsed) and elapsed[-1] - elapsed[0] > 1e6


@pytest.fixture(params=FOLDERS)
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Format]]:
    yield writable(request.param, tmp_path), request.param


def writable(format_name: Format, folder: Path) -> Path:
    """Return a copy of a data set that a test may damage."""
    copy = folder / "copy"
    shutil.copytree(need_data("micromanager_window") / FOLDERS[format_name], copy, copy_function=shutil.copyfile)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)
    return copy


def test_a_folder_of_the_window_that_was_cut_is_refused(copied: tuple[Path, Format]) -> None:
    copy, format_name = copied
    victim = sorted(copy.rglob("*.tif"))[-1]
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size - (500_000 if "stack" in format_name else 9)])
    with pytest.raises(SourceError, match=rf"{victim.name} was cut: \d+ images of"):
        WindowRecording(copy, format_name)


def test_a_folder_without_a_whole_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no image that is whole"):
        WindowRecording(tmp_path, "separate image files")


def test_an_image_of_another_size_is_refused_by_its_name(tmp_path: Path) -> None:
    copy = writable("separate image files", tmp_path)
    victim = copy / "worm-b" / "img_channel001_position001_time000000001_z004.tif"
    page = tifffile.imread(victim)
    content = victim.read_bytes()
    with tifffile.TiffFile(victim) as file:
        height = file.pages[0].tags["ImageLength"]
        n_bytes = file.pages[0].tags["StripByteCounts"]
        rows, order = len(page) // 2, file.byteorder
    for tag, value in ((height, rows), (n_bytes, page.nbytes // 2)):
        size = {3: 2, 4: 4}[int(tag.dtype)]
        written = value.to_bytes(size, "little" if order == "<" else "big")
        content = content[: tag.valueoffset] + written + content[tag.valueoffset + size :]
    victim.write_bytes(content)
    with pytest.raises(SourceError, match=rf"{victim.name} holds an image of {rows} x {page.shape[1]} px"):
        WindowRecording(copy, "separate image files")


def test_of_a_plane_that_was_written_twice_the_later_one_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = writable("separate image files", tmp_path)
    first = copy / "worm-a" / "img_channel000_position000_time000000000_z000.tif"
    with tifffile.TiffFile(first) as file:
        (at,), (n_bytes,) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    content = first.read_bytes()
    again = first.with_name(first.name.replace("z000", "z0000"))
    again.write_bytes(content[:at] + bytes(n_bytes) + content[at + n_bytes :])
    with caplog.at_level(logging.WARNING), closing(WindowRecording(copy, "separate image files")) as recording:
        assert len(recording.contents.order) == 40
        assert not recording.read_plane(PlaneIndex(0, 0, 0, 0)).any()
    assert "planes written twice n=1" in caplog.text
