"""A useq.MDASequence as the plan: read, as pycromanager's events, and what is left of it when a run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from care_live.config import (
    AcquisitionConfig,
    MicroManagerConfig,
    PymmcorePlusConfig,
    ReferenceConfig,
    VirtualConfig,
    parse,
)
from care_live.errors import ConfigError
from care_live.images import RunEnded, RunStarted, VolumeKey
from care_live.source.mda_sequence import (
    interval_s,
    outline_of_sequence,
    planned,
    pycromanager_events,
    quiet_limit_s,
    read_sequence,
    remaining,
    short_form,
)
from care_live.source.reference_planes import with_references
from care_live.source.useq_axes import axes_and_height
from tests.source.test_micromanager import acquire, ended, frames

pytestmark = pytest.mark.mm

PLAN: dict[str, Any] = {
    "axis_order": "tpgcz",
    "time_plan": {"interval": 2.0, "loops": 2},
    "stage_positions": [{"x": 0, "y": 0, "z": 0}, {"x": 500, "y": 5, "z": 1, "name": "far"}],
    "grid_plan": {"rows": 1, "columns": 2, "fov_width": 100, "fov_height": 100},
    "channels": [{"config": "DAPI", "exposure": 2}, {"config": "FITC", "exposure": 3, "do_stack": False}],
    "z_plan": {"range": 1.0, "step": 0.5},
}


def test_a_file_and_the_same_keys_in_the_config_are_the_same_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(read_sequence(PLAN).model_dump_json())
    assert list(read_sequence(path)) == list(read_sequence(PLAN))
    for given in (str(path), PLAN):
        for kind in ("virtual", "micromanager", "pymmcore-plus"):
            source = parse({"source": {"kind": kind, "sequence": given}}, origin="test").source
            assert isinstance(source, VirtualConfig | MicroManagerConfig | PymmcorePlusConfig)
            assert source.sequence == (PLAN if given is PLAN else path)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"zplan": {"range": 1, "step": 0.5}}, "an unknown key 'zplan'"),
        (
            {"z_plan": {"range": 4, "step": 0.5, "go_pu": False}},
            "an unknown key 'z_plan.go_pu'; useq has there .*'go_up'",
        ),
        ({"channels": [{"config": "DAPI"}, {"config": "FITC", "exposrue": 5}]}, "an unknown key 'channels.1.exposrue'"),
        ({"time_plan": [{"interval": 1, "loops": 2}, {"interval": 1, "loops": 2, "lops": 3}]}, "'time_plan.1.lops'"),
        ({"stage_positions": [{"x": 0, "sequence": {"zplan": {"range": 1}}}]}, "'stage_positions.0.sequence.zplan'"),
        ({"z_plan": {"range": -1, "step": "none"}}, "source.sequence is not a useq sequence"),
        (Path("absent.yaml"), "cannot read sequence absent.yaml"),
        ("plan.yaml", "plan.yaml has an unknown key 'chanels'"),
    ],
)
def test_what_is_no_sequence_is_one_clear_line(given: Path | str | dict[str, Any], says: str, tmp_path: Path) -> None:
    if isinstance(given, str):
        given = tmp_path / given
        given.write_text("chanels: [{config: DAPI}]\nz_plan: {range: 8, step: 1}\n")
    with pytest.raises(ConfigError, match=says):
        read_sequence(given)


def test_settings_that_a_sequence_makes_void_are_refused() -> None:
    parse({"source": {"kind": "virtual", "sequence": PLAN, "acquisition": {"pixel_size_um": 0.3}}}, origin="test")
    with pytest.raises(ConfigError, match=r"take \['z_planes'\] out of source.acquisition"):
        parse({"source": {"kind": "virtual", "sequence": PLAN, "acquisition": {"z_planes": 4}}}, origin="test")


def test_pycromanager_gets_the_same_planes_by_name() -> None:
    sequence = read_sequence(PLAN)
    outline = outline_of_sequence(sequence)
    events = pycromanager_events(sequence)
    assert len(events) == len(outline.order) == 2 * 2 * 2 * 4
    assert outline.places.channels == ("DAPI", "FITC")
    assert outline.places.positions == ("grid=0 position=0", "grid=1 position=0", "grid=0 position=1 far",
                                        "grid=1 position=1 far")  # fmt: skip
    assert outline.stacks[VolumeKey(0, 0, 0)] == (0, 1, 2)
    assert outline.stacks[VolumeKey(0, 0, 1)] == (1,)
    last = events[-1]
    assert last["axes"] == {"time": 1, "z": 1, "channel": "FITC", "position": "1 far", "grid": 1}
    assert (last["config_group"], last["exposure"], last["min_start_time"]) == (["Channel", "FITC"], 3.0, 2.0)
    assert (last["x"], last["y"], last["z"]) == (550.0, 5.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"autofocus_plan": {"autofocus_motor_offset": 3, "axes": ["p"]}}, "hardware_autofocus"),
        ({"axis_order": "ptgcz"}, "starts its clock anew"),
    ],
)
def test_what_pycromanager_cannot_do_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        pycromanager_events(read_sequence(PLAN | changes))


def test_planes_that_a_sequence_acquires_twice_are_refused() -> None:
    twice = {"channels": [{"config": "DAPI"}, {"config": "DAPI", "group": "Other"}]}
    with pytest.raises(ConfigError, match="twice at the same index"):
        outline_of_sequence(read_sequence(twice))


@pytest.mark.parametrize("order", ["tpgcz", "ptgcz", "tpgzc", "gptcz"])
@pytest.mark.parametrize("n_stored", [0, 1, 5, 15])
def test_what_is_left_is_every_volume_that_is_not_stored(order: str, n_stored: int) -> None:
    plan = PLAN | {"axis_order": order, "autofocus_plan": {"autofocus_motor_offset": 3, "axes": ["p"]}}
    sequence = read_sequence(plan)
    outline = outline_of_sequence(sequence)
    stored = frozenset(list(outline.stacks)[:n_stored])
    left = list(remaining(sequence, outline, stored))
    here = outline.without(stored)
    assert [outline.places.index_of(axes) for axes in _axes(left)] == list(here.order)
    assert (set(here.stacks), here.places) == (set(outline.stacks) - stored, outline.places)
    assert left[0].min_start_time == 0.0 and left[0].reset_event_timer
    n_stages = len({(event.x_pos, event.y_pos) for event in planned(left)})
    assert sum(event.action.type == "acquire_image" for event in left) == len(here.order)
    assert n_stages == len({(index.p,) for index in here.order})


def _axes(events: list[Any]) -> list[dict[str, Any]]:
    return [axes_and_height(event)[0] for event in planned(events)]


def test_the_rest_of_a_time_lapse_keeps_its_intervals() -> None:
    sequence = read_sequence({"time_plan": {"interval": 2.0, "loops": 4}, "channels": ["DAPI"]})
    outline = outline_of_sequence(sequence)
    left = remaining(sequence, outline, frozenset({VolumeKey(0), VolumeKey(1)}))
    assert [event.min_start_time for event in left] == [0.0, 2.0]
    assert quiet_limit_s(sequence, at_least_s=1.0) == pytest.approx(2.0)
    assert interval_s(sequence) == 2.0
    assert interval_s(read_sequence({"time_plan": [{"interval": 1, "loops": 2}, {"interval": 5, "loops": 2}]})) == 5.0
    assert interval_s(read_sequence({"channels": ["DAPI"]})) == 0.0


def test_specimens_are_laid_out_where_the_sequence_goes() -> None:
    acquisition = short_form(VirtualConfig(sequence=PLAN)).acquisition
    assert [(place.x_um, place.y_um) for place in acquisition.positions] == [(-50, 0), (50, 0), (450, 5), (550, 5)]
    assert (acquisition.time_points, acquisition.z_planes, acquisition.z_step_um) == (2, 5, 0.5)
    assert [channel.preset for channel in acquisition.channels] == ["DAPI", "FITC"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["virtual", "micromanager"])
def test_a_sequence_in_the_config_is_run_by_pycromanager(kind: str) -> None:
    plan = PLAN | {"time_plan": {"interval": 0, "loops": 2}}
    wanted = None if kind == "virtual" else ReferenceConfig(every=2, light=1.5, presets=(("DAPI", "Cy5"),))
    got = acquire(
        VirtualConfig(sequence=plan, specimen="beads", shape_px=(64, 64))
        if kind == "virtual"
        else MicroManagerConfig(sequence=plan, acquisition=AcquisitionConfig(reference=wanted))
    )
    started, outline = got[0], outline_of_sequence(with_references(read_sequence(plan), wanted))
    assert isinstance(started, RunStarted), ended(got)
    assert (started.plan.stacks, started.plan.voxel_size_um) == (outline.stacks, (0.5, 0.5, 0.5))
    assert started.plan.channels == outline.places.channels
    assert [frame.index for frame in frames(got)] == list(outline.order)
    exposed = {(frame.index.c, frame.exposure_ms) for frame in frames(got)}
    assert exposed == {(0, 2.0), (1, 3.0)} | (set() if wanted is None else {(2, 2.0), (3, 4.5)})
    assert ended(got) == RunEnded("finished", n_delivered=len(outline.order))
