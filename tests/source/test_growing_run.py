"""A plane that is followed while it is written equals the plane of the finished file, whatever is written first."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from care_live.config import FolderConfig
from care_live.errors import SourceError
from care_live.images import Frame, PlaneIndex, RunEnded, RunStarted, SourceEvent
from care_live.recorded import open_recording
from care_live.source.follower import Follower
from tests.source.growing import JAVA, SHAPE_PX, GrowingDataSet, Part
from tests.source.test_follower import Clock, take_all

PIXELS = np.random.default_rng(5).integers(1, 65535, (6, *SHAPE_PX), np.uint16)
"""Without a zero: what was not written yet would show."""
ORDERS = [order for order in itertools.permutations(JAVA) if order[-1] not in ("first half", "second half")]
"""Header and metadata enclose the pixels: where neither they nor the entry come last, no reader can know."""


def follow(folder: Path, clock: Clock | None = None) -> Follower:
    return Follower(FolderConfig(directory=folder, idle_s=10), run_id="run", clock=clock or Clock())


def check(events: list[SourceEvent]) -> list[PlaneIndex]:
    """Compare every frame with what was written; return where they belong."""
    frames = [event for event in events if isinstance(event, Frame)]
    for frame in frames:
        np.testing.assert_array_equal(frame.pixels, PIXELS[frame.index.t])
    return [frame.index for frame in frames]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(part.replace(" ", "") for part in order))
def test_no_plane_comes_before_it_is_whole(tmp_path: Path, order: tuple[Part, ...]) -> None:
    data_set = GrowingDataSet(tmp_path / "run_1")
    follower = follow(tmp_path / "run_1")
    for t, pixels in enumerate(PIXELS):
        data_set.begin({"time": t}, pixels)
        for part in order[:-1]:
            data_set.write(part)
            assert check(take_all(follower)) == []
        data_set.write(order[-1])
        assert check(take_all(follower)) == [PlaneIndex(t=t)]
    data_set.finish()
    assert take_all(follower) == [RunEnded("finished", n_delivered=len(PIXELS))]
    follower.close()


def test_an_entry_that_is_met_half_written_is_read_again(tmp_path: Path) -> None:
    """Behind the half of it lies padding, not the end of the file."""
    data_set = GrowingDataSet(tmp_path / "run_1")
    follower = follow(tmp_path / "run_1")
    for t, pixels in enumerate(PIXELS):
        data_set.begin({"time": t}, pixels)
        for part in JAVA[:-1]:
            data_set.write(part)
        for cut in range(data_set.n_bytes("entry") - 5):  # the last four bytes are zero anyway
            data_set.write("entry", cut=cut)
            assert check(take_all(follower)) in ([], [PlaneIndex(t=t)])
        data_set.write("entry")
        take_all(follower)
    data_set.finish()
    assert take_all(follower) == [RunEnded("finished", n_delivered=len(PIXELS))]
    follower.close()


def test_an_index_that_outgrows_its_padding_goes_on(tmp_path: Path) -> None:
    data_set = GrowingDataSet(tmp_path / "run_1", index_bytes=150)
    follower = follow(tmp_path / "run_1")
    for t, pixels in enumerate(PIXELS):
        data_set.begin({"time": t}, pixels)
        for part in JAVA:
            data_set.write(part)
        assert check(take_all(follower)) == [PlaneIndex(t=t)]
    follower.close()


def test_a_writer_that_dies_within_an_image_ends_the_run_with_one_line(tmp_path: Path) -> None:
    data_set, clock = GrowingDataSet(tmp_path / "run_1"), Clock()
    follower = follow(tmp_path / "run_1", clock)
    clock.now += 3600  # an hour before the acquisition began is not silence
    for t, parts in enumerate((JAVA, ("header", "first half", "entry"))):
        data_set.begin({"time": t}, PIXELS[t])
        for part in parts:
            data_set.write(part)
    assert check(take_all(follower)) == [PlaneIndex(t=0)]
    clock.now += 11
    (ended,) = take_all(follower)
    assert isinstance(ended, RunEnded)
    assert (ended.reason, ended.n_delivered) == ("failed", 1)
    assert '"time": 1' in ended.detail
    follower.close()


def test_a_pause_between_time_points_is_no_end(tmp_path: Path) -> None:
    data_set, clock = GrowingDataSet(tmp_path / "run_1", IntendedDimensions={"time": 2}, Interval_ms=60_000), Clock()
    follower = follow(tmp_path / "run_1", clock)
    data_set.add({"time": 0}, PIXELS[0])
    assert check(take_all(follower)) == [PlaneIndex(t=0)]
    clock.now += 60
    assert take_all(follower) == []
    clock.now += 11
    assert take_all(follower) == [
        RunEnded("stalled", "no new image for 70 s; 1 of 2 planned planes came", n_delivered=1)
    ]
    follower.close()


def test_a_plan_that_its_user_will_stop_by_hand_takes_no_memory(tmp_path: Path) -> None:
    data_set = GrowingDataSet(tmp_path / "run_1", IntendedDimensions={"time": 999_999_999, "z": 100})
    follower = follow(tmp_path / "run_1")
    data_set.add({"time": 0}, PIXELS[0])
    started, frame = take_all(follower)
    assert isinstance(started, RunStarted)
    assert started.plan.stacks == {}
    assert check([frame]) == [PlaneIndex()]
    follower.close()


@pytest.mark.parametrize("missing", ["header", "metadata"])
def test_a_finished_data_set_never_yields_a_plane_that_is_not_whole(tmp_path: Path, missing: Part) -> None:
    data_set = GrowingDataSet(tmp_path / "run_1")
    data_set.add({"time": 0}, PIXELS[0])
    data_set.begin({"time": 1}, PIXELS[1])
    for part in JAVA:
        if part != missing:
            data_set.write(part)
    data_set.finish()
    recording = open_recording(tmp_path / "run_1")
    np.testing.assert_array_equal(recording.read_plane(PlaneIndex()), PIXELS[0])
    with pytest.raises(SourceError, match='"time": 1'):
        recording.read_plane(PlaneIndex(t=1))
    recording.close()


@pytest.mark.parametrize(
    ("summary", "channels", "positions"),
    [
        ({"ChNames": ["DAPI", "FITC"], "StagePositions": [{"Label": "worm-a"}, {"Label": "worm-b"}]},
         ("DAPI", "FITC"), ("worm-a", "worm-b")),
        ({"ChNames": ["DAPI", "DAPI"], "StagePositions": [{"Label": "a"}]},
         ("channel 0", "channel 1"), ("position 0", "position 1")),
        ({}, ("channel 0", "channel 1"), ("position 0", "position 1")),
    ],
    ids=["named", "badly-named", "unnamed"],
)  # fmt: skip
def test_channels_and_positions_have_the_names_of_the_window(
    tmp_path: Path, summary: dict[str, object], channels: tuple[str, ...], positions: tuple[str, ...]
) -> None:
    data_set = GrowingDataSet(tmp_path / "run_1", IntendedDimensions={"channel": 2, "position": 2}, **summary)
    follower = follow(tmp_path / "run_1")
    got: list[SourceEvent] = []
    for number, (p, c) in enumerate(itertools.product(range(2), range(2))):
        data_set.add({"channel": c, "position": p, "time": 0}, PIXELS[number])
        got += take_all(follower)
    started, *frames = got[:5]
    assert isinstance(started, RunStarted)
    assert (started.plan.channels, started.plan.positions) == (channels, positions)
    assert [frame.index for frame in frames if isinstance(frame, Frame)] == [
        PlaneIndex(p=p, c=c) for p, c in itertools.product(range(2), range(2))
    ]
    follower.close()


@pytest.mark.parametrize("characters", ["utf-8", "cp1252"])
def test_names_in_the_character_set_of_the_microscopes_machine_are_read(tmp_path: Path, characters: str) -> None:
    """Java 11 writes the index on Windows in the machine's own character set."""
    data_set = GrowingDataSet(tmp_path / "run_1", characters=characters, prefix="Müller")
    follower = follow(tmp_path / "run_1")
    data_set.add({"time": 0, "channel": "Grün"}, PIXELS[0])
    assert check(take_all(follower)) == [PlaneIndex()]
    follower.close()
    data_set.finish()
    recording = open_recording(tmp_path / "run_1")
    assert recording.contents.plan.channels == ("Grün",)
    recording.close()


def test_a_plane_that_cannot_be_placed_is_left_out_and_the_rest_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data_set = GrowingDataSet(tmp_path / "run_1")
    follower = follow(tmp_path / "run_1")
    for axes, pixels in zip(({"time": 0}, {"time": "late"}, {"time": 2}), PIXELS, strict=False):
        data_set.add(axes, pixels)
    assert check(take_all(follower) + take_all(follower)) == [PlaneIndex(t=0), PlaneIndex(t=2)]
    assert "plane dropped" in caplog.text
    data_set.finish()
    assert take_all(follower) == [RunEnded("failed", "1 planes could not be placed", n_delivered=2)]
    follower.close()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mda_1/mda_1_MMStack_Pos0.ome.tif", "'image stack file', but no image in them is whole"),
        ("mda_1/mda_1_MMStack.ome.tif", "'image stack file', but no image in them is whole"),
        ("mda_1/Pos0/img_channel000_position000_time000000000_z000.tif", "cannot be read as TIFF"),
        ("mda_1/Default/img_channel000_position000_time000000000_z000.tif", "cannot be read as TIFF"),
    ],
)
def test_files_of_a_known_format_without_a_whole_image_are_named(tmp_path: Path, name: str, says: str) -> None:
    old, clock = tmp_path / "old_1" / "old_1_MMStack_Pos0.ome.tif", Clock()
    old.parent.mkdir()
    old.write_bytes(b"II")
    follower = follow(tmp_path, clock)
    clock.now += 60
    assert take_all(follower) == [], "it was there before"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(b"II")
    assert take_all(follower) == []
    clock.now += 9
    (ended,) = take_all(follower)
    assert isinstance(ended, RunEnded)
    assert ended.reason == "failed"
    assert says in ended.detail
    follower.close()


def test_a_data_set_beside_other_images_is_followed(tmp_path: Path) -> None:
    clock = Clock()
    follower = follow(tmp_path, clock)
    (tmp_path / "a_1").mkdir()
    (tmp_path / "a_1" / "a_1_MMStack_Pos0.ome.tif").write_bytes(b"II")
    assert take_all(follower) == []
    GrowingDataSet(tmp_path / "b_1").add({"time": 0}, PIXELS[0])
    clock.now += 60
    assert check(take_all(follower)) == [PlaneIndex()]
    follower.close()
