"""A run that was interrupted goes on where it stopped."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from care_live.config import Config, StoreConfig
from care_live.daemon.resume import NothingLeft, asked_of, open_remaining
from care_live.errors import CareLiveError, StoreError
from care_live.images import Plan, RunEnded, RunStarted, VolumeKey
from care_live.source import tap
from care_live.store import RunReader, claim_run, open_run
from tests.make.runs import config, movie, replay, run
from tests.make.stored import make_volume

VIRTUAL = {"kind": "virtual", "shape_px": [64, 64], "acquisition": {"time_points": 3, "z_planes": 8}}


def resumed(settings: Config) -> Config:
    """Go on although the run has finished."""
    return settings.model_copy(update={"resume": True})


def written(folder: Path, plan: Plan, summary: dict[str, object]) -> Path:
    """Leave a run of one volume that was interrupted."""
    started = RunStarted("test", plan, summary)
    writer = open_run(StoreConfig(directory=folder / "runs", keep_free_mib=0), started)
    writer.write_raw(make_volume(shape=(8, 64, 64)))
    writer.close()
    return folder / "runs" / "test"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape_px": [64, 32]}, "shape_px"),
        ({"acquisition": {"time_points": 3, "z_planes": 9}}, r"planes of volume \(0, 0, 0\) 8"),
        ({"acquisition": {"time_points": 3, "z_planes": 8, "z_step_um": 2.0}}, "voxel_size_um"),
        ({"acquisition": {"time_points": 3, "z_planes": 8, "interval_s": 3.0}}, "interval_s"),
        ({"acquisition": {"time_points": 3, "z_planes": 8, "channels": [{"preset": "FITC"}]}}, "channels"),
        ({"acquisition": {"time_points": 3, "z_planes": 8, "positions": [{"name": "there"}]}}, "positions"),
    ],
    ids=["field", "planes", "step", "interval", "channel", "position"],
)
def test_a_microscope_that_is_asked_for_another_plan_is_not_even_started(tmp_path, changes, said):
    plan = Plan({VolumeKey(t): tuple(range(8)) for t in range(3)}, (64, 64), "uint16", (1.0, 0.5, 0.5), ("DAPI",))
    written(tmp_path, plan, {"engine": "pycromanager", "source": "virtual"})
    with pytest.raises(StoreError, match=f"was begun with {said}"):
        open_remaining(config(tmp_path, VIRTUAL | changes), "test")
    source = config(tmp_path, VIRTUAL).source
    assert asked_of(source, plan) == plan


@pytest.mark.parametrize(("resume", "name"), [(False, "test-3"), (True, "test")], ids=["as usual", "resumed"])
def test_one_run_after_the_other_keeps_off_the_names_of_an_earlier_daemon(tmp_path, resume, name):
    """Else the first acquisition of the next evening would be refused, or go on in the run of the evening before."""
    for earlier in ("test", "test-2"):
        (tmp_path / "runs" / earlier).mkdir(parents=True)
    anywhere = {"bind": "tcp://127.0.0.1:0", "bind_runs": "tcp://127.0.0.1:0"}
    settings = config(tmp_path, {"kind": "live"} | anywhere).model_copy(update={"resume": resume})
    with closing(open_remaining(settings, "test")) as source, tap(source.address_of_runs) as tapped:
        tapped(np.zeros((8, 8), np.uint16), {"Axes": {"time": 0}})
        begun = source.next_event(60.0)
        assert isinstance(begun, RunStarted) and begun.run_id == name
        tapped.close(within_s=0.1)


def test_a_run_that_is_being_written_is_refused_before_its_source_is_opened(tmp_path):
    asked = config(tmp_path, replay(tmp_path / "there is no such movie.tif"))
    claim = claim_run(asked.store, "test")
    with pytest.raises(StoreError, match="is being written by"):
        run(asked)
    claim.close()
    with pytest.raises(CareLiveError, match="no such movie"):
        run(asked)
    assert not (tmp_path / "runs/test").exists()


@pytest.mark.slow
def test_a_finished_run_is_refused_and_nothing_of_it_changes(tmp_path):
    movie(tmp_path / "movie.tif", times=2)
    asked = config(tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "wait"})
    run(asked)
    journal = tmp_path / "runs/test/journal.jsonl"
    before = journal.read_bytes()
    with pytest.raises(StoreError, match=r"has finished: 2 raw volumes are stored, 0 of them not restored; .*--resume"):
        run(asked)
    assert journal.read_bytes() == before
    other = movie(tmp_path / "other.tif", times=3)
    with pytest.raises(StoreError, match="begun with source's path"):
        run(resumed(config(tmp_path, replay(tmp_path / "other.tif"), restore={"policy": "wait"})))
    assert len(other) == 3 and RunReader(tmp_path / "runs/test").keys("raw") == [VolumeKey(0), VolumeKey(1)]


@pytest.mark.slow
def test_a_replay_goes_on_where_it_was_interrupted(tmp_path):
    pixels = movie(tmp_path / "movie.tif", times=3)
    waits = {"policy": "wait"}
    first = run(config(tmp_path, replay(tmp_path / "movie.tif"), restore=waits))
    twice = run(resumed(config(tmp_path, replay(tmp_path / "movie.tif", loops=2), restore=waits)))
    again = run(resumed(config(tmp_path, replay(tmp_path / "movie.tif", loops=2), restore=waits)))
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
    second = run(resumed(config(tmp_path, longer)))
    assert (second.received_planes, second.volumes, second.restored) == (8, 1, 1)
    source = open_remaining(config(tmp_path, longer), "test")
    assert isinstance(source, NothingLeft)
    assert isinstance(source.next_event(1), RunStarted)
    assert isinstance(source.next_event(1), RunEnded)
    nothing = run(resumed(config(tmp_path, longer)))  # restores what is raw only
    assert (nothing.received_planes, nothing.lost_planes) == (0, 0)


@pytest.mark.mm
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pymmcore-plus", "micromanager", "virtual"])
def test_a_sequence_goes_on_with_the_first_volume_that_is_not_stored(tmp_path: Path, kind: str):
    path = tmp_path / "sequence.yaml"
    text = """axis_order: ptcz
stage_positions: [{x: 0, y: 0, z: 0}, {x: 300, y: 0, z: 0}]
channels: [DAPI]
z_plan: {range: 3.5, step: 0.5}
time_plan: {interval: 0.1, loops: %d}
"""
    source = {"kind": kind, "sequence": str(path)} | ({"shape_px": [64, 64]} if kind == "virtual" else {})
    if kind != "pymmcore-plus":
        text = text.replace("ptcz", "tpcz")  # pycromanager has one clock for all positions
    asked = config(tmp_path, source, restore={"policy": "defer"})
    path.write_text(text % 1)
    assert run(asked).received_planes == 16
    reader = RunReader(tmp_path / "runs" / "test")
    before = {key: reader.read("raw", key).tobytes() for key in reader.keys("raw")}
    path.write_text(text % 2)
    again = run(resumed(asked))
    reader.refresh()
    assert (again.received_planes, again.lost_planes, again.already_stored) == (16, 0, 0)
    assert reader.keys("raw") == [VolumeKey(t, p) for t in range(2) for p in range(2)]
    assert {key: reader.read("raw", key).tobytes() for key in before} == before
    assert isinstance(open_remaining(asked, "test"), NothingLeft)
    path.write_text(text.replace("0.5}", "0.7}") % 2)
    with pytest.raises(StoreError, match="was begun with"):
        open_remaining(asked, "test")
