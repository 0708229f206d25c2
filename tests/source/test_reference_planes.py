"""Second exposures at full light: behind their twins in every kind of plan, on real engines, and in a user's script."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from care_live.acquisition_plan import twin_of
from care_live.config import (
    AcquisitionConfig,
    Channel,
    MicroManagerConfig,
    PymmcorePlusConfig,
    ReferenceConfig,
    RemoteConfig,
    parse,
)
from care_live.errors import ConfigError
from care_live.images import REFERENCE, Frame, RunEnded, RunStarted, VolumeKey
from care_live.recorded.tags import Places
from care_live.source.mda_sequence import outline_of_sequence, planned, pycromanager_events, read_sequence, remaining
from care_live.source.micromanager import events_of
from care_live.source.reference_planes import check_presets, with_references
from care_live.source.remote import Remote
from tests.source.java_program import java_program
from tests.source.test_micromanager import acquire, ended, frames

pytestmark = pytest.mark.mm

WANTED = ReferenceConfig(every=2, planes=2, light=2.5)
PLAN: dict[str, Any] = {
    "axis_order": "tpcz",
    "time_plan": {"interval": 0, "loops": 3},
    "stage_positions": [{"x": 0, "y": 0, "z": 0}, {"x": 20, "y": 5, "z": 1, "name": "far"}],
    "channels": [{"config": "DAPI", "exposure": 2}, {"config": "FITC", "exposure": 3, "do_stack": False}],
    "z_plan": {"range": 2.0, "step": 0.5},
}
TWINS = {"DAPI": 2, "FITC": 1}
"""References of a stack by channel: that of FITC is one plane."""


@pytest.mark.parametrize("order", ["tpcz", "ptcz", "tpzc", "zctp"])
def test_each_reference_of_a_sequence_is_right_behind_its_twin(order: str) -> None:
    af = {"autofocus_plan": {"autofocus_motor_offset": 3, "axes": ["p"]}}
    sequence = read_sequence(PLAN | {"axis_order": order} | af)
    every = list(with_references(sequence, WANTED))
    pairs = [(one, two) for one, two in itertools.pairwise(every) if "reference" in two.index]
    assert len(pairs) == len(every) - len(list(sequence)) == 2 * 2 * sum(TWINS.values())
    for low, high in pairs:
        assert (high.exposure, high.channel, high.z_pos, high.x_pos) == (2.5 * low.exposure, *_place(low))
        assert dict(high.index) == {**low.index, "reference": 1}
    assert [one for one in every if "reference" not in one.index] == list(sequence)
    outline = outline_of_sequence(every)
    assert outline.places.channels == ("DAPI", "FITC", f"DAPI{REFERENCE}", f"FITC{REFERENCE}")
    assert {key.t for key in outline.stacks if key.c > 1} == {0, 2}


def _place(event: Any) -> tuple[Any, ...]:
    return event.channel, event.z_pos, event.x_pos


def test_a_plan_that_has_references_gets_no_references_of_them() -> None:
    once = list(with_references(read_sequence(PLAN), WANTED))
    twice = list(with_references(once, WANTED))
    assert len(twice) - len(once) == 2 * 2 * sum(TWINS.values())
    assert all(set(one.index) <= set("tpcz") | {"reference"} for one in twice)


@pytest.mark.parametrize(
    ("plan", "wanted", "says"),
    [
        ({"channels": ["DAPI"], "z_plan": {"range": 2, "step": 1}}, WANTED, "has no exposure time"),
        (PLAN, ReferenceConfig(every=1, planes=5, light=9.0), "would cost"),
    ],
)
def test_references_that_cannot_be_exposed_are_refused(plan: Any, wanted: ReferenceConfig, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        with_references(read_sequence(plan), wanted)


BRIGHT = WANTED.model_copy(update={"presets": (("DAPI", "Cy5"),)})


def test_a_preset_of_more_light_is_exposed_as_long_as_the_twin() -> None:
    section = {"every": 2, "planes": 2, "light": 2.5, "presets": {"DAPI": "Cy5"}}
    source: Any = parse({"source": {"kind": "micromanager"}, "reference": section}, origin="test").source
    assert source.acquisition.reference == BRIGHT
    every = list(with_references(read_sequence(PLAN), BRIGHT))
    again = {(one.channel.config, one.exposure) for one in every if "reference" in one.index}
    assert again == {("Cy5", 2.0), ("FITC", 7.5)}
    assert outline_of_sequence(every).places.channels == ("DAPI", "FITC", f"DAPI{REFERENCE}", f"FITC{REFERENCE}")
    groups = [tuple(one["config_group"]) for one in pycromanager_events(every) if one["axes"].get("reference")]
    short = [one for one in events_of(AcquisitionConfig(reference=BRIGHT)) if REFERENCE in one["axes"]["channel"]]
    assert set(groups) == {("Channel", "Cy5"), ("Channel", "FITC")}
    assert {(*one["config_group"], one["exposure"]) for one in short} == {("Channel", "Cy5", 10.0)}


def test_a_preset_whose_light_would_stay_on_is_refused() -> None:
    wheel, laser = ("Wheel", "State"), ("Laser", "Power")
    both = {"DAPI": [wheel, laser], "Cy5": [wheel, laser], "FITC": [wheel]}
    for events in (with_references(read_sequence(PLAN), BRIGHT), events_of(AcquisitionConfig(reference=BRIGHT))):
        check_presets(events, lambda _, preset: both[preset])
        with pytest.raises(ConfigError, match="'Cy5' sets Laser-Power, and preset 'DAPI' does not set it back"):
            check_presets(events, lambda _, preset: both[preset] if preset == "Cy5" else [wheel])
    with pytest.raises(ConfigError, match=r"leave reference\.presets out"):
        parse({"source": {"kind": "virtual"}, "reference": {"presets": {"DAPI": "Cy5"}}}, origin="test")


def test_the_section_stands_beside_a_sequence_of_every_source_that_drives_a_microscope() -> None:
    section = {"every": 2, "planes": 2, "light": 2.5}
    for kind in ("virtual", "micromanager", "pymmcore-plus"):
        config = parse({"source": {"kind": kind, "sequence": PLAN}, "reference": section}, origin="test")
        source: Any = config.source
        assert (source if kind == "pymmcore-plus" else source.acquisition).reference == WANTED
    with pytest.raises(ConfigError, match="with an axis 'reference' that is 1"):
        parse({"source": {"kind": "remote"}, "reference": section}, origin="test")


def test_a_reference_is_known_by_its_axis_or_its_channel_and_never_names_a_position() -> None:
    places = Places()
    axes = [{"channel": "GFP", "reference": 0}, {"channel": "GFP", "reference": 1}, {"channel": f"GFP{REFERENCE}"}]
    assert [places.index_of({"time": 0, "z": 3} | one).c for one in axes] == [0, 1, 1]
    assert (places.channels, places.positions) == (("GFP", f"GFP{REFERENCE}"), ("default",))
    unnamed = Places()
    assert [unnamed.index_of(one).c for one in ({"reference": 1}, {})] == [1, 0]
    assert unnamed.channels == ("default", f"default{REFERENCE}")
    cameras = Places()
    looks: list[dict[str, Any]] = [{"camera": "left"}, {"camera": "left", "reference": 1}]
    looks += [{"channel": "GFP", **one} for one in looks]
    assert [cameras.index_of(one).c for one in looks] == [0, 1, 2, 3]
    assert [twin_of(cameras.channels, c) for c in range(4)] == [None, 0, None, 2]


def test_a_run_that_goes_on_exposes_no_reference_without_its_twin() -> None:
    every = list(with_references(read_sequence(PLAN), WANTED))
    outline = outline_of_sequence(every)
    twin_only, bright_only = VolumeKey(0, 0, 0), VolumeKey(0, 0, 3)
    here = outline.without({twin_only, bright_only})
    assert VolumeKey(0, 0, 2) not in here.stacks and VolumeKey(0, 0, 1) in here.stacks
    left = planned(remaining(every, outline, {twin_only, bright_only}))
    assert len(left) == len(here.order) == len(outline.order) - 5 - 2 - 1
    assert not outline.without({key for key in outline.stacks if key.c < 2}).stacks


# -- on real engines ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_pymmcore_plus_exposes_them_right_behind_their_twins() -> None:
    got = acquire(PymmcorePlusConfig(sequence=PLAN, reference=BRIGHT))
    started, outline = got[0], outline_of_sequence(with_references(read_sequence(PLAN), BRIGHT))
    assert isinstance(started, RunStarted), ended(got)
    assert (started.plan.stacks, started.plan.channels) == (outline.stacks, outline.places.channels)
    assert [frame.index for frame in frames(got)] == list(outline.order)
    assert {(frame.index.c, frame.exposure_ms) for frame in frames(got)} == {(0, 2), (1, 3), (2, 2), (3, 7.5)}
    assert ended(got) == RunEnded("finished", n_delivered=len(outline.order))


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_java_micro_manager_exposes_them_with_one_camera_and_with_two(tmp_path: Path) -> None:
    cameras: list[tuple[str, ...]] = [("",), (" Camera", " Cam2")]
    with java_program("engine", tmp_path) as port:
        for labels in cameras:
            if len(labels) > 1:
                subprocess.run([sys.executable, "-m", "tests.source.two_cameras", str(port)], check=True, timeout=120)
            for merge in (False, True):
                channels = (Channel(exposure_ms=2.0), Channel(preset="FITC", exposure_ms=3.0))
                acquisition = AcquisitionConfig(
                    time_points=3, z_planes=6, channels=channels, hardware_sequence=merge, reference=BRIGHT
                )
                got = acquire(MicroManagerConfig(backend="java", port=port, acquisition=acquisition), within_s=120)
                started, n = got[0], len(labels)
                assert isinstance(started, RunStarted), ended(got)
                names = ("DAPI", "FITC", f"DAPI{REFERENCE}", f"FITC{REFERENCE}")
                assert started.plan.channels == tuple(f"{name}{label}" for name in names for label in labels)
                assert ended(got) == RunEnded("finished", n_delivered=n * (3 * 2 * 6 + 2 * 2 * 2))
                came = {frame.index for frame in frames(got)}
                assert came == {(*key, z) for key, planes in started.plan.stacks.items() for z in planes}
                assert [started.plan.twin_of(c) for c in range(2 * n, 4 * n)] == list(range(2 * n))
                assert {(one.index.c // n, one.exposure_ms) for one in frames(got)} == {
                    (0, 2),
                    (1, 3),
                    (2, 2),
                    (3, 7.5),
                }


def test_pycromanager_gets_them_as_channels_of_their_own() -> None:
    events = pycromanager_events(with_references(read_sequence(PLAN), WANTED))
    again = [one for one in events if one["axes"].get("reference")]
    assert len(again) == 2 * 2 * sum(TWINS.values())
    assert {tuple(one["config_group"]) for one in again} == {("Channel", "DAPI"), ("Channel", "FITC")}


SCRIPT = """\
import os, sys
from care_live.config import AcquisitionConfig, VirtualConfig
from care_live.source.virtual import start_virtual_core
from tests.source.test_reference_planes import PLAN, WANTED

core = start_virtual_core(VirtualConfig(specimen="beads", shape_px=(32, 32), acquisition=AcquisitionConfig(z_planes=5)))
if sys.argv[2] == "pymmcore-plus":
    from care_live.source.mda_sequence import read_sequence
    from care_live.source.pymmcore_plus import observe
    from care_live.source.reference_planes import with_references

    events = with_references(read_sequence(PLAN), WANTED)
    observer = observe(core, sys.argv[1], events=events)
    core.mda.run(events)
    assert observer.close(within_s=60)
else:
    from pycromanager import Acquisition
    from care_live.source.tap import tap

    axes = [{"time": t, "z": z, "reference": n} for t in range(2) for z in range(3) for n in range(1 + (z == 1))]
    with tap(sys.argv[1]) as sent, Acquisition(None, "mine", image_process_fn=sent) as acquisition:
        acquisition.acquire([{"axes": one, "z": one["z"], "exposure": 2.0 + 10 * one["reference"]} for one in axes])
sys.stdout.flush()
os._exit(0)
"""
"""A user's own program: the planes that are exposed a second time have an axis of their own."""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["pymmcore-plus", "pycromanager"])
def test_a_script_sends_references_by_an_axis(engine: str, tmp_path: Path) -> None:
    remote = Remote(RemoteConfig(bind="tcp://127.0.0.1:0"), run_id="run")
    (tmp_path / "mine.py").write_text(SCRIPT)
    arguments = [sys.executable, str(tmp_path / "mine.py"), remote.address, engine]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    got = []
    try:
        for _ in range(600):
            event = remote.next_event(0.2)
            got += [event] if event is not None else []
            if process.poll() is not None and isinstance(event, RunEnded | None):
                break
    finally:
        process.kill()
        _, said = process.communicate(timeout=60)
        remote.close()
    assert process.returncode == 0, said
    started, *middle = got
    assert isinstance(started, RunStarted)
    plan, shots = started.plan, [one for one in middle if isinstance(one, Frame)]
    bright = [shot for shot in shots if plan.twin_of(shot.index.c) is not None]
    assert len(bright) == (2 * 2 * sum(TWINS.values()) if engine == "pymmcore-plus" else 2)
    assert len(shots) - len(bright) == (3 * 2 * 6 if engine == "pymmcore-plus" else 6)
    assert len(plan.positions) == (2 if engine == "pymmcore-plus" else 1)
