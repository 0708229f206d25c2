"""ReplaySource: the planes of the file, at the pace that was asked for, under a plan that tells the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.config import ReplayConfig
from care_live.errors import ConfigError
from care_live.images import Frame, PlaneIndex, RunEnded, RunStarted, SourceEvent, VolumeKey
from care_live.source import Source, open_source
from care_live.source.replay import ReplaySource
from tests.conftest import need_data


def play(source: Source, *, limit: int = 100_000) -> list[SourceEvent]:
    events: list[SourceEvent] = []
    for _ in range(limit):
        event = source.next_event(1.0)
        if event is not None:
            events.append(event)
        if isinstance(event, RunEnded):
            break
    return events


def ramp(folder: Path, *, n_t: int = 3, n_z: int = 4) -> tuple[Path, np.ndarray]:
    """Write planes that carry their number."""
    pixels = np.arange(n_t * n_z, dtype=np.uint16).reshape(n_t, n_z, 1, 1) + np.zeros((8, 16), np.uint16)
    path = folder / "ramp.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack")
    return path, pixels


def test_real_time_lapse_arrives_as_it_lies_in_the_file() -> None:
    path = need_data("cho_3d_timelapse/Fluo-N3DH-CHO_02_img.tif")
    direct = tifffile.imread(path)
    config = ReplayConfig(path=path, axes="TZYX", voxel_size_um=(1.0, 0.202, 0.202))
    source = open_source(config, run_id="cho")
    started, *frames, ended = play(source)
    source.close()
    assert isinstance(started, RunStarted)
    assert started.plan.voxel_size_um == (1.0, 0.202, 0.202)
    assert started.plan.stacks == {VolumeKey(t): (0, 1, 2, 3, 4) for t in range(20)}
    assert ended == RunEnded("finished", n_delivered=100)
    for number, frame in enumerate(frames):
        assert isinstance(frame, Frame)
        assert frame.arrival == number
        np.testing.assert_array_equal(frame.pixels, direct[frame.index.t, frame.index.z])


def test_loops_go_on_in_time(tmp_path: Path) -> None:
    path, _ = ramp(tmp_path)
    source = open_source(ReplayConfig(path=path, axes="TZYX", loops=3), run_id="r")
    started, *frames, ended = play(source)
    source.close()
    assert isinstance(started, RunStarted)
    assert isinstance(ended, RunEnded)
    assert (len(started.plan.stacks), ended.n_delivered) == (9, 36)
    assert [frame.index.t for frame in frames if isinstance(frame, Frame)] == [i // 4 for i in range(36)]
    assert all(isinstance(f, Frame) and f.pixels[0, 0] == i % 12 for i, f in enumerate(frames))


def test_an_endless_loop_says_so_and_stops_when_asked(tmp_path: Path) -> None:
    path, _ = ramp(tmp_path)
    source = open_source(ReplayConfig(path=path, axes="TZYX", loops=0), run_id="r")
    started = source.next_event(0)
    assert isinstance(started, RunStarted)
    assert started.plan.endless
    assert started.plan.planes_of(VolumeKey(99)) == (0, 1, 2, 3)
    frames = [source.next_event(0) for _ in range(100)]
    assert isinstance(frames[-1], Frame)
    assert frames[-1].index == PlaneIndex(t=24, z=3)
    source.stop()
    assert source.next_event(0) == RunEnded("aborted", "replay was stopped", n_delivered=100)
    assert source.next_event(0) is None
    source.close()


class Clock:
    """Stands still unless it is set."""

    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_planes_come_at_the_given_rate(tmp_path: Path) -> None:
    path, _ = ramp(tmp_path)
    clock = Clock()
    source = ReplaySource(ReplayConfig(path=path, axes="TZYX", speed=100.0), run_id="r", clock_ns=clock)
    assert isinstance(source.next_event(0), RunStarted)
    for number in range(12):
        clock.now_ns = number * 10_000_000 - 1
        assert number == 0 or source.next_event(0) is None, "too early"
        clock.now_ns += 1
        frame = source.next_event(0)
        assert isinstance(frame, Frame)
        assert frame.host_time_ns == clock.now_ns
    source.close()


def test_what_is_stored_is_passed_over_and_takes_no_time(tmp_path: Path) -> None:
    path, _ = ramp(tmp_path)
    clock = Clock()
    config = ReplayConfig(path=path, axes="TZYX", speed=100.0, loops=2)
    source = ReplaySource(config, run_id="r", stored={VolumeKey(0), VolumeKey(1), VolumeKey(3)}, clock_ns=clock)
    started = source.next_event(0)
    assert isinstance(started, RunStarted)
    assert list(started.plan.stacks) == [VolumeKey(2), VolumeKey(4), VolumeKey(5)]
    for number in range(12):
        clock.now_ns = number * 10_000_000 - 1
        assert number == 0 or source.next_event(0) is None, "too early"
        clock.now_ns += 1
        frame = source.next_event(0)
        assert isinstance(frame, Frame)
        assert (frame.arrival, frame.index.t, frame.index.z) == (number, (2, 4, 5)[number // 4], number % 4)
    assert source.next_event(0) == RunEnded("finished", n_delivered=12)
    source.close()


def test_an_endless_loop_goes_on_where_the_store_ends(tmp_path: Path) -> None:
    path, _ = ramp(tmp_path)
    source = ReplaySource(
        ReplayConfig(path=path, axes="TZYX", loops=0), run_id="r", stored={VolumeKey(t) for t in range(7)}
    )
    started, frame = source.next_event(0), source.next_event(0)
    assert isinstance(started, RunStarted)
    assert started.plan.endless
    assert isinstance(frame, Frame)
    assert (frame.index, frame.pixels[0, 0]) == (PlaneIndex(t=7), 4)
    source.close()


def test_a_recording_that_is_stored_begins_and_ends(tmp_path: Path) -> None:
    path, _ = ramp(tmp_path, n_t=1)
    source = ReplaySource(ReplayConfig(path=path, axes="TZYX"), run_id="r", stored={VolumeKey(0)})
    started, ended = play(source)
    assert isinstance(started, RunStarted)
    assert ended == RunEnded("finished", n_delivered=0)
    source.close()


def test_recorded_speed_follows_the_recorded_times() -> None:
    path = need_data("telomeres_lowlight_stream/timelapse_telomeres_2d.tif")
    clock = Clock()
    source = ReplaySource(ReplayConfig(path=path, speed="recorded"), run_id="r", clock_ns=clock)
    assert isinstance(source.next_event(0), RunStarted)
    assert isinstance(source.next_event(0), Frame)
    clock.now_ns = 49_999_999
    assert source.next_event(0) is None
    clock.now_ns = 50_000_000  # the file says 20 frames a second
    assert isinstance(source.next_event(0), Frame)
    source.close()


def test_recorded_speed_needs_recorded_times(tmp_path: Path) -> None:
    path, _ = ramp(tmp_path)
    with pytest.raises(ConfigError, match="no recorded times"):
        open_source(ReplayConfig(path=path, axes="TZYX", speed="recorded"), run_id="r")


def test_a_plane_that_cannot_be_read_ends_the_run_and_says_which(tmp_path: Path) -> None:
    path = tmp_path / "ramp.tif"
    pixels = np.random.default_rng(2).integers(0, 4095, (3, 4, 16, 16), np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as file:
        start = file.pages[6].dataoffsets[0]
    with path.open("r+b") as written:
        written.seek(start + 4)
        written.write(bytes(8))
    source = open_source(ReplayConfig(path=path, axes="TZYX"), run_id="r")
    _, *frames, ended = play(source)
    source.close()
    assert len(frames) == 6
    assert isinstance(ended, RunEnded)
    assert (ended.reason, ended.n_delivered) == ("failed", 6)
    assert "plane t=1 p=0 c=0 z=2" in ended.detail
