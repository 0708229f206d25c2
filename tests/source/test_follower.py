"""Following a data set while it is being written, as Java and as Python write it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from care_live.config import FolderConfig
from care_live.errors import ConfigError
from care_live.images import Frame, RunEnded, RunStarted, SourceEvent, VolumeKey
from care_live.recorded import open_recording
from care_live.recorded.ndtiff_index import INDEX_NAME, entries
from care_live.source.follower import Follower
from tests.conftest import need_data

PADDING = 1 << 16


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class JavaWriter:
    """Writes a real data set again: images first, then each index entry, in a file that is padded with zeros."""

    def __init__(self, original: Path, copy: Path) -> None:
        copy.mkdir(parents=True)
        for file in original.glob("*.tif"):
            shutil.copyfile(file, copy / file.name)
        data = (original / INDEX_NAME).read_bytes()
        ends = [0, *(end for end, _ in entries(data))]
        self.entries = [data[start:end] for start, end in itertools.pairwise(ends)]
        self.path = copy / INDEX_NAME
        self.path.write_bytes(bytes(PADDING))
        self._position = 0

    def write(self, part: bytes) -> None:
        with self.path.open("r+b") as index:
            index.seek(self._position)
            index.write(part)
        self._position += len(part)

    def finish(self) -> None:
        with self.path.open("r+b") as index:
            index.truncate(self._position)


@pytest.fixture
def original() -> Path:
    return need_data("ndtiff_micromanager/v3/ndtiff3.2_multichannel")


def take_all(follower: Follower) -> list[SourceEvent]:
    """Return what is there now."""
    got: list[SourceEvent] = []
    while (event := follower.next_event(0.0)) is not None:
        got.append(event)
    return got


def follow(folder: Path, clock: Callable[[], float]) -> Follower:
    return Follower(FolderConfig(directory=folder, idle_s=10), run_id="run", clock=clock)


def test_every_image_comes_as_soon_as_its_entry_is_whole(original: Path, tmp_path: Path) -> None:
    writer = JavaWriter(original, tmp_path / "run_1")
    follower = follow(tmp_path / "run_1", Clock())
    assert take_all(follower) == []
    got: list[SourceEvent] = []
    for number, entry in enumerate(writer.entries):
        writer.write(entry[:10])
        assert take_all(follower) == [], "half an entry is none"
        writer.write(entry[10:])
        new = take_all(follower)
        assert len(new) == (2 if number == 0 else 1)
        got += new
    writer.finish()
    assert take_all(follower) == [RunEnded("finished", n_delivered=256)]
    follower.close()
    same_as_recorded(got, original)


def same_as_recorded(got: list[SourceEvent], original: Path) -> None:
    started, *frames = got
    recording = open_recording(original)
    assert isinstance(started, RunStarted)
    assert started.plan.shape_px == recording.contents.plan.shape_px
    indices = [frame.index for frame in frames if isinstance(frame, Frame)]
    assert len(indices) == len(frames) == len(recording.contents.order)
    names = recording.contents.plan.channels
    for frame, index in zip(frames, recording.contents.order, strict=True):
        assert isinstance(frame, Frame)
        assert (frame.index.t, frame.index.z, names[frame.index.c]) == (index.t, index.z, names[index.c])
        np.testing.assert_array_equal(frame.pixels, recording.read_plane(index))
    recording.close()


def test_a_data_set_that_appears_later_is_followed_and_old_ones_are_not(original: Path, tmp_path: Path) -> None:
    JavaWriter(original, tmp_path / "old_1")
    follower = follow(tmp_path, Clock())
    assert take_all(follower) == []
    writer = JavaWriter(original, tmp_path / "new_1")
    for entry in writer.entries[:3]:
        writer.write(entry)
    got = take_all(follower)
    assert len(got) == 4
    assert isinstance(got[0], RunStarted)
    assert got[0].summary["path"] == str(tmp_path / "new_1")
    follower.close()


def test_silence_ends_the_run(original: Path, tmp_path: Path) -> None:
    writer, clock = JavaWriter(original, tmp_path / "run_1"), Clock()
    follower = follow(tmp_path / "run_1", clock)
    writer.write(writer.entries[0])
    assert len(take_all(follower)) == 2
    clock.now += 9
    assert take_all(follower) == []
    clock.now += 2
    assert take_all(follower) == [RunEnded("finished", "no new image for 10 s", n_delivered=1)]
    follower.close()


def test_an_image_that_is_not_written_yet_is_waited_for(original: Path, tmp_path: Path) -> None:
    writer, clock = JavaWriter(original, tmp_path / "run_1"), Clock()
    (tiff,) = (tmp_path / "run_1").glob("*.tif")
    whole = tiff.read_bytes()
    tiff.write_bytes(whole[:20_000])  # the header, and not much more
    for entry in writer.entries[:40]:
        writer.write(entry)
    follower = follow(tmp_path / "run_1", clock)
    n_before = len(take_all(follower))
    assert n_before < 41
    tiff.write_bytes(whole)
    assert n_before + len(take_all(follower)) == 41
    follower.close()


def test_a_broken_index_fails_after_a_while_with_one_line(original: Path, tmp_path: Path) -> None:
    writer, clock = JavaWriter(original, tmp_path / "run_1"), Clock()
    follower = follow(tmp_path / "run_1", clock)
    writer.write(writer.entries[0])
    assert len(take_all(follower)) == 2
    writer.write(b"\xff" * 64)
    assert take_all(follower) == []
    clock.now += 11
    (ended,) = take_all(follower)
    assert isinstance(ended, RunEnded)
    assert ended.reason == "failed"
    assert "broken" in ended.detail
    follower.close()


def test_stop_ends_it(original: Path, tmp_path: Path) -> None:
    writer = JavaWriter(original, tmp_path / "run_1")
    follower = follow(tmp_path / "run_1", Clock())
    writer.write(writer.entries[0])
    assert len(take_all(follower)) == 2
    follower.stop()
    assert take_all(follower) == [RunEnded("aborted", "following was stopped", n_delivered=1)]
    follower.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ndstorage's writer leaks its files
def test_what_python_writes_in_several_files_is_followed_while_it_is_written(tmp_path: Path) -> None:
    from ndstorage import NDTiffDataset

    dataset = NDTiffDataset(str(tmp_path), name="run", writable=True)
    dataset.initialize({"IntendedDimensions": {"time": 3, "channel": 2, "z": 4, "position": 1}, "ChNames": ["A", "B"]})
    follower = follow(tmp_path, Clock())
    assert take_all(follower) == []
    dice, written, got = np.random.default_rng(0), {}, []
    for t in range(3):
        for c, channel in enumerate(("A", "B")):
            for z in range(4):
                pixels = dice.integers(0, 65535, (32, 40), np.uint16)
                tags = {"TimeReceivedByCore": f"2026-01-02 03:04:{t:02d}.{z:06d}", "Exposure": "12.5"}
                dataset.put_image({"time": t, "channel": channel, "z": z}, pixels, tags)
                dataset.current_writer.has_space_to_write = lambda *_: True
                written[t, c, z] = pixels
        dataset._index_file.flush()
        dataset.current_writer.has_space_to_write = lambda *_: False  # the next image goes to a new file
        got += take_all(follower)
    dataset.finish()
    dataset.close()
    got += take_all(follower)
    started, *frames, ended = got
    assert isinstance(started, RunStarted)
    assert started.plan.stacks == {VolumeKey(t, 0, c): (0, 1, 2, 3) for t in range(3) for c in range(2)}
    assert ended == RunEnded("finished", n_delivered=24)
    for frame in frames:
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.pixels, written[frame.index.t, frame.index.c, frame.index.z])
        assert frame.exposure_ms == 12.5
        assert frame.core_time_us is not None
    assert len(frames) == 24
    follower.close()


def test_a_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        Follower(FolderConfig(directory=tmp_path / "absent"), run_id="run")
