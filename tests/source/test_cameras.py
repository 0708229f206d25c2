"""Several cameras at once: each has its channels, and no plane of the second one is taken for one of the first."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from care_live.config import AcquisitionConfig, MicroManagerConfig, PymmcorePlusConfig
from care_live.errors import SourceError
from care_live.images import Frame, PlaneIndex, RunEnded, RunStarted, SequenceEnded
from care_live.recorded.tags import Places, camera_of
from care_live.source.cameras import CameraFormat, labels_among, labels_in, refuse_different
from care_live.source.outline import outline_of
from tests.source.test_micromanager import acquire, ended, frames
from tests.source.two_cameras import CAMERAS, two_cameras

SEQUENCE = """\
time_plan: {interval: 0, loops: 2}
channels: [{config: DAPI, exposure: 2}, {config: FITC, exposure: 2}]
z_plan: {range: 1.5, step: 0.5}
axis_order: tcz
"""


def test_every_event_is_planned_once_a_camera() -> None:
    events = [({"time": 0, "channel": "DAPI", "z": z}, float(z)) for z in range(3)]
    outline = outline_of(events).seen_by(CAMERAS)
    assert outline.places.channels == ("DAPI Camera", "DAPI Cam2")
    assert outline.order == tuple(PlaneIndex(c=c, z=z) for z in range(3) for c in range(2))
    assert outline.planes_of([events[1][0]]) == {"Camera": [PlaneIndex(z=1)], "Cam2": [PlaneIndex(c=1, z=1)]}


def test_the_camera_axis_is_part_of_the_channel_and_no_position() -> None:
    places = Places()
    assert places.index_of({"z": 1, "camera": "left"}) == PlaneIndex(z=1)
    assert places.index_of({"z": 1, "camera": "right"}) == PlaneIndex(c=1, z=1)
    assert (places.channels, places.positions) == (("left", "right"), ("default",))


def test_the_cameras_of_a_multi_camera_stand_in_its_tags() -> None:
    tags = {
        "Core-Camera": "M",
        "M-Physical Camera 2": "b",
        "M-Physical Camera 1": "a",
        "M-Physical Camera 3": "Undefined",
    }
    assert labels_in(tags) == ("a", "b")
    assert labels_in({"Core-Camera": "Camera"}) == ()


@pytest.mark.parametrize(
    ("axes", "tags", "label"),
    [
        ({"camera": "left"}, {}, "left"),
        ({"channel": 1}, {"Camera": "Cam2", "Core-Camera": "Multi Camera"}, "Cam2"),
        ({"channel": 1}, {"Camera": "Camera", "Core-Camera": "Camera"}, ""),
        ({"channel": 1}, {"Camera": "Camera"}, ""),
    ],
    ids=["axis", "window", "one-camera", "no-more-known"],
)
def test_the_camera_that_took_a_frame(axes: dict[str, object], tags: dict[str, object], label: str) -> None:
    assert camera_of(axes, tags) == label


def test_the_cameras_of_a_run_stand_in_its_channels() -> None:
    """A run that goes on plans for the same cameras before it has asked the microscope."""
    assert labels_among(("DAPI a", "DAPI b", "FITC a", "FITC b"), ("DAPI", "FITC")) == ("a", "b")
    assert labels_among(("DAPI", "FITC"), ("DAPI", "FITC")) == ()
    assert labels_among(("DAPI a", "FITC a", "FITC b"), ("DAPI", "FITC")) == ()


def test_cameras_of_different_size_are_refused_by_name() -> None:
    refuse_different([CameraFormat("a", 48, 64, "Mono16"), CameraFormat("b", 48, 64, "Mono16")])
    with pytest.raises(SourceError, match=r"'a' 48 x 64 px \(Mono16\), 'b' 48 x 32 px"):
        refuse_different([CameraFormat("a", 48, 64, "Mono16"), CameraFormat("b", 48, 32, "Mono16")])


@pytest.mark.mm
@pytest.mark.slow
@pytest.mark.parametrize("how", ["snapped", "hardware-sequenced"])
def test_pymmcore_plus_gives_every_plane_of_both_cameras(tmp_path: Path, how: str) -> None:
    configuration = two_cameras(tmp_path)
    if how == "hardware-sequenced":
        with configuration.open("a") as file:
            file.write("Property,Z,UseSequences,Yes\n")
    sequence = tmp_path / "sequence.yaml"
    sequence.write_text(SEQUENCE)
    started, *middle, last = acquire(PymmcorePlusConfig(sequence=sequence, hardware_config=str(configuration)))
    assert isinstance(started, RunStarted)
    assert started.plan.channels == ("DAPI Camera", "DAPI Cam2", "FITC Camera", "FITC Cam2")
    assert started.plan.n_planes == 2 * 2 * 2 * 4
    assert last == RunEnded("finished", n_delivered=32)
    came = {frame.index: frame.pixels.tobytes() for frame in middle if isinstance(frame, Frame)}
    assert set(came) == {PlaneIndex(t, 0, c, z) for t, c, z in itertools.product(range(2), range(4), range(4))}
    assert len(set(came.values())) == 32, "the camera's noise makes every image distinct"
    sequences = [event for event in middle if isinstance(event, SequenceEnded)]
    assert bool(sequences) is (how == "hardware-sequenced")
    assert all(one.problem is None for one in sequences)


@pytest.mark.mm
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "width_px", "says"),
    [
        ("pymmcore-plus", 32, "'Camera' 48 x 64 px (Mono16), 'Cam2' 48 x 32 px"),
        ("switched", 32, "'Camera' 48 x 64 px (Mono16), 'Cam2' 48 x 32 px"),
        ("pycromanager", 64, "pycromanager's Python engine gives the first camera's pixels"),
    ],
)
def test_what_cannot_be_placed_is_refused_before_the_first_exposure(
    tmp_path: Path, kind: str, width_px: int, says: str
) -> None:
    configuration = str(two_cameras(tmp_path, second_width_px=width_px, together=kind != "switched"))
    sequence = tmp_path / "sequence.yaml"
    sequence.write_text(SEQUENCE)
    got = acquire(
        PymmcorePlusConfig(sequence=sequence, hardware_config=configuration)
        if kind != "pycromanager"
        else MicroManagerConfig(hardware_config=configuration, acquisition=AcquisitionConfig(time_points=1, z_planes=2))
    )
    assert ended(got).reason == "failed"
    assert says in ended(got).detail
    assert frames(got) == []
