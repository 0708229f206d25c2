"""A run that was interrupted goes on where it stopped."""

from pathlib import Path

import pytest

from care_live.config import AcquisitionConfig, Channel
from care_live.daemon.resume import NothingLeft, first_incomplete, open_remaining
from care_live.images import RunEnded, RunStarted, VolumeKey
from care_live.store import RunReader
from tests.daemon.runs import config, movie, replay, run

VIRTUAL = {"kind": "virtual", "shape_px": [64, 64], "acquisition": {"time_points": 3, "z_planes": 8}}


def test_the_first_time_point_that_lacks_a_volume():
    acquisition = AcquisitionConfig(channels=(Channel(preset="DAPI"), Channel(preset="FITC")))
    stored = frozenset({VolumeKey(0, 0, 0), VolumeKey(0, 0, 1), VolumeKey(1, 0, 0)})
    assert first_incomplete(acquisition, stored) == 1
    assert first_incomplete(acquisition, frozenset()) == 0


@pytest.mark.slow
def test_a_replay_goes_on_where_it_was_interrupted(tmp_path):
    pixels = movie(tmp_path / "movie.tif", times=3)
    waits = {"policy": "wait"}
    first = run(config(tmp_path, replay(tmp_path / "movie.tif"), restore=waits))
    twice = run(config(tmp_path, replay(tmp_path / "movie.tif", loops=2), restore=waits))
    again = run(config(tmp_path, replay(tmp_path / "movie.tif", loops=2), restore=waits))
    assert [status.received_planes for status in (first, twice, again)] == [24, 24, 0]
    assert [status.lost_planes for status in (first, twice, again)] == [0, 0, 0]
    reader = RunReader(tmp_path / "runs" / "test")
    assert all((reader.read("raw", VolumeKey(t)) == pixels[t % 3]).all() for t in range(6))


@pytest.mark.mm
@pytest.mark.slow
def test_a_virtual_run_is_not_exposed_twice(tmp_path):
    first = run(config(tmp_path, VIRTUAL))
    assert (first.received_planes, first.lost_planes, first.volumes, first.restored) == (24, 0, 3, 3)
    longer = VIRTUAL | {"acquisition": {"time_points": 4, "z_planes": 8}}
    second = run(config(tmp_path, longer))
    assert (second.received_planes, second.volumes, second.restored) == (8, 1, 1)
    source = open_remaining(config(tmp_path, longer), "test")
    assert isinstance(source, NothingLeft)
    assert isinstance(source.next_event(1), RunStarted)
    assert isinstance(source.next_event(1), RunEnded)


@pytest.mark.mm
@pytest.mark.slow
def test_a_sequence_begins_anew_but_what_is_stored_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "sequence.yaml"
    text = "channels: [DAPI]\nz_plan: {range: 3.5, step: 0.5}\ntime_plan: {interval: 0, loops: %d}"
    asked = config(tmp_path, {"kind": "pymmcore-plus", "sequence": str(path)}, restore={"policy": "defer"})
    path.write_text(text % 1)
    assert run(asked).received_planes == 8
    reader = RunReader(tmp_path / "runs" / "test")
    before = reader.read("raw", VolumeKey(0))
    assert not [one for one in caplog.messages if "anew" in one]
    path.write_text(text % 3)
    again = run(asked)
    reader.refresh()
    assert (again.received_planes, again.lost_planes, again.restored) == (24, 0, 2)
    assert reader.keys("raw") == [VolumeKey(t) for t in range(3)]
    assert (reader.read("raw", VolumeKey(0)) == before).all()
    assert [one for one in caplog.messages if "1 volumes that are stored are exposed again" in one]
