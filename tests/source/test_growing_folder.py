"""The window's image stack files and separate image files, followed while they grow: whole planes and nothing else."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from care_live.config import FolderConfig, parse
from care_live.images import Frame, RunEnded, RunStarted, SourceEvent, VolumeKey
from care_live.recorded import is_data_set, open_recording
from care_live.source.follower import Follower
from tests.conftest import need_data
from tests.source.test_follower import Clock, take_all

FORMATS = {"image_stack_files": "image stack file", "separate_image_files": "separate image files"}
STACKS = {VolumeKey(t, p, c): tuple(range(5)) for t in range(2) for p in range(2) for c in range(2)}


def pieces(data: bytes, dice: random.Random, n: int) -> Iterator[bytes]:
    """Cut bytes at random places; most of them lie behind the room that a stack file reserves for its index."""
    cuts = sorted({0, len(data), *(dice.randrange(max(0, len(data) - 700_000), len(data)) for _ in range(n))})
    return (data[start:end] for start, end in itertools.pairwise(cuts))


def written_again(original: Path, copy: Path, dice: random.Random) -> Iterator[None]:
    """Write a data set of the window again: some bytes of any of its image files at a time, all others whole.

    Separate files come one after the other; image stack files, one a position, grow side by side.
    """
    images = sorted(path.relative_to(original) for path in original.rglob("*.tif"))
    for path in sorted(path for path in original.rglob("*.txt") if path.name != "comments.txt"):
        (copy / path.relative_to(original)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy / path.relative_to(original))
    n_pieces, at_once = (40, len(images)) if len(images) == 2 else (2, 1)
    waiting = [(path, pieces((original / path).read_bytes(), dice, n_pieces)) for path in images]
    while waiting:
        place = dice.randrange(min(at_once, len(waiting)))
        path, left = waiting[place]
        piece = next(left, None)
        if piece is None:
            waiting.pop(place)
            continue
        with (copy / path).open("ab") as file:
            file.write(piece)
        yield


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("seed", range(3))
def test_whole_planes_come_as_they_are_written_and_nothing_else(tmp_path: Path, name: str, seed: int) -> None:
    original = need_data(f"micromanager_window/{name}")
    follower = Follower(FolderConfig(directory=tmp_path), run_id="run", clock=Clock())
    got: list[SourceEvent] = []
    n_before = set()
    for _ in written_again(original, tmp_path / "mp_1", random.Random(seed)):
        got += take_all(follower)
        n_before.add(len(got))
    started, *frames, ended = got
    assert ended == RunEnded("finished", n_delivered=40)
    assert len(n_before) > 20, "planes come while the files grow"
    assert isinstance(started, RunStarted)
    assert started.plan.stacks == STACKS
    assert (started.plan.positions, started.plan.channels) == (("worm-a", "worm-b"), ("DAPI", "FITC"))
    assert (started.plan.voxel_size_um, started.plan.interval_s) == ((1.0, 1.0, 1.0), 0.1)
    assert started.summary["format"] == FORMATS[name]
    recording = open_recording(original)
    assert len({frame.index for frame in frames if isinstance(frame, Frame)}) == 40
    for frame in frames:
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.pixels, recording.read_plane(frame.index))
        assert (frame.core_time_us, frame.exposure_ms) == recording.stamp(frame.index)[1:]
    recording.close()
    follower.close()


@pytest.mark.parametrize("n_bytes", [0, 500])
def test_separate_images_wait_for_the_summary_with_their_names(tmp_path: Path, n_bytes: int) -> None:
    original, copy = need_data("micromanager_window/separate_image_files/worm-a"), tmp_path / "mp_1" / "worm-a"
    follower = Follower(FolderConfig(directory=tmp_path), run_id="run", clock=Clock())
    copy.mkdir(parents=True)
    image = next(original.glob("*.tif"))
    summary = (original / "metadata.txt").read_bytes()
    (copy / "metadata.txt").write_bytes(summary[:n_bytes])
    shutil.copyfile(image, copy / image.name)
    assert take_all(follower) == []
    (copy / "metadata.txt").write_bytes(summary)
    started, frame = take_all(follower)
    assert isinstance(started, RunStarted) and isinstance(frame, Frame)
    assert started.plan.positions == ("worm-a", "worm-b")
    follower.close()


@pytest.mark.parametrize("name", FORMATS)
def test_an_acquisition_that_was_stopped_has_ended_when_its_writer_closes_it(tmp_path: Path, name: str) -> None:
    """Fewer planes come than its summary announces: only the closed files say that no more will."""
    original, copy = need_data(f"micromanager_window/{name}"), tmp_path / "mp_1"
    shutil.copytree(original, copy, copy_function=shutil.copyfile)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)
    (copy / "comments.txt").unlink()
    for path in copy.rglob("*worm-b*.tif") if name == "image_stack_files" else (copy / "worm-b").glob("*.tif"):
        path.unlink()
    follower = Follower(FolderConfig(directory=copy), run_id="run", clock=Clock())
    assert len(take_all(follower)) == 21
    shutil.copyfile(original / "comments.txt", copy / "comments.txt")
    assert take_all(follower) == [RunEnded("finished", n_delivered=20)]
    follower.close()


@pytest.mark.parametrize("name", ["img_000000000_DAPI_000.tif", "stack.nd2"])
def test_files_in_no_known_format_are_named_within_ten_seconds(tmp_path: Path, name: str) -> None:
    clock = Clock()
    follower = Follower(FolderConfig(directory=tmp_path), run_id="run", clock=clock)
    assert take_all(follower) == []
    (tmp_path / "run_1").mkdir()
    (tmp_path / "run_1" / name).write_bytes(b"II*\0")
    assert take_all(follower) == []
    clock.now += 9.0
    (ended,) = take_all(follower)
    assert isinstance(ended, RunEnded)
    assert ended.reason == "failed"
    assert f"run_1 gets images ({name}) that cannot be followed: wanted a format of Micro-Manager" in ended.detail
    follower.close()


def test_a_stack_file_whose_images_cannot_be_read_fails_within_ten_seconds(tmp_path: Path) -> None:
    clock = Clock()
    follower = Follower(FolderConfig(directory=tmp_path), run_id="run", clock=clock)
    (tmp_path / "run_1").mkdir()
    (tmp_path / "run_1" / "run_1_MMStack_Pos0.ome.tif").write_bytes(b"II*\0" + bytes(range(1, 100)))
    assert take_all(follower) == []
    clock.now += 9.0
    (ended,) = take_all(follower)
    assert isinstance(ended, RunEnded)
    assert (ended.reason, "no summary" in ended.detail) == ("failed", True)
    follower.close()


def test_images_that_were_there_before_are_named_and_no_reason_to_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "old.tif").write_bytes(b"II*")
    clock = Clock()
    follower = Follower(FolderConfig(directory=tmp_path), run_id="run", clock=clock)
    assert "old.tif" in caplog.text
    for _ in range(3):
        clock.now += 20
        assert take_all(follower) == []
    follower.close()


def test_the_name_that_the_source_had_before_still_loads() -> None:
    for kind in ("folder", "ndtiff"):
        source = parse({"source": {"kind": kind, "directory": "."}}, origin="test").source
        assert isinstance(source, FolderConfig)


def test_a_folder_of_the_windows_files_is_one_data_set() -> None:
    """A walk through an archive does not take its files for data sets of their own."""
    for name in ("nd_tiff", *FORMATS):
        assert is_data_set(need_data(f"micromanager_window/{name}"))
    assert not is_data_set(need_data("micromanager_window"))
