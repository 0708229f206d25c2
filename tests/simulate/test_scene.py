"""What the virtual microscope sees: reproducible, true in the mean, moving, bleaching, one specimen a position."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.config import AcquisitionConfig, Channel, Position, ReferenceConfig, VirtualConfig
from care_live.errors import ConfigError
from care_live.images import VolumeKey
from care_live.simulate.scene import Exposure, Scene
from care_live.source.micromanager import events_of

CONFIG = VirtualConfig(
    specimen="granules",
    shape_px=(40, 48),
    acquisition=AcquisitionConfig(
        z_planes=3,
        channels=(Channel(), Channel(preset="FITC", exposure_ms=20.0)),
        positions=(Position(name="a"), Position(name="b", x_um=100.0)),
    ),
)


def shot(number: int, **changes: float) -> Exposure:
    return Exposure(
        number, **({"x_um": 0.0, "y_um": 0.0, "z_um": 1.0, "exposure_ms": 10.0, "laser_power": 1.0} | changes)
    )


def test_same_exposure_of_the_same_scene_is_the_same_frame() -> None:
    first, again = (Scene(CONFIG).expose(shot(5)) for _ in range(2))
    other = Scene(CONFIG).expose(shot(6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_truth_is_the_mean_of_many_frames() -> None:
    config = CONFIG.model_copy(update={"specimen_step_s": 0.0})
    scene = Scene(config)
    frames = np.stack([scene.expose(shot(number, laser_power=0.2)) for number in range(300)]).astype(np.float64)
    dim = config.model_copy(update={"laser_power": 0.2})
    expected = Scene(dim).truth(VolumeKey(0))[1]
    quirks = scene.sensor.offset - 100.0
    error = frames.mean(axis=0) - quirks - expected
    assert abs(error.mean()) < 0.1
    assert np.abs(error).mean() < 1.3 * np.sqrt(2 / np.pi) * frames.std(axis=0).mean() / np.sqrt(300) + 0.02


def test_specimen_stands_still_within_a_time_point_and_moves_between_them() -> None:
    scene = Scene(CONFIG)
    per_time_point = 2 * 2 * 3
    times = [scene.time_s(number) for number in range(3 * per_time_point)]
    assert times == [0.0] * per_time_point + [1.0] * per_time_point + [2.0] * per_time_point
    first, second = scene.truth(VolumeKey(0)), scene.truth(VolumeKey(1))
    assert np.abs(first - second).max() > 5.0


def test_every_position_has_a_specimen_of_its_own() -> None:
    scene = Scene(CONFIG)
    here, there = scene.truth(VolumeKey(0, 0)), scene.truth(VolumeKey(0, 1))
    assert np.corrcoef(here.ravel(), there.ravel())[0, 1] < 0.5
    frame = scene.expose(shot(3, x_um=100.0)).astype(np.float64)
    assert np.corrcoef(frame.ravel(), there[1].ravel())[0, 1] > 0.3


def test_channels_differ_by_dye_and_exposure() -> None:
    scene = Scene(CONFIG)
    one, two = (scene.truth(VolumeKey(0, 0, c)) - 100.0 - 0.15 * 2.17 for c in (0, 1))
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.95
    assert 1.0 < two.sum() / one.sum() < 2.0


def test_specimen_bleaches_with_the_light_that_it_got() -> None:
    scene = Scene(CONFIG)
    late = scene.truth(VolumeKey(400)).mean() - 100.0
    assert late < 0.9 * (scene.truth(VolumeKey(0)).mean() - 100.0)
    strong = [scene.expose(shot(0, laser_power=2000.0)).mean() for _ in range(3)]
    assert strong[0] > 1.05 * strong[1] > 1.1 * strong[2]
    untouched = scene.expose(shot(0, x_um=100.0)).mean()
    assert untouched == pytest.approx(Scene(CONFIG).expose(shot(0, x_um=100.0)).mean())


def test_planned_dose_counts_what_the_camera_will_have_given() -> None:
    """After whole time points in the planned order, the live dose is the one that truth reckons with."""
    scene = Scene(CONFIG)
    number = 0
    for _ in range(2):
        for x_um in (0.0, 100.0):
            for exposure_ms in (10.0, 20.0):
                for z in range(3):
                    scene.expose(shot(number, x_um=x_um, exposure_ms=exposure_ms, z_um=float(z)))
                    number += 1
    for p in (0, 1):
        half_a_stack = 1.5
        assert scene.dose_of(p) == pytest.approx(scene.planned_dose(VolumeKey(2, p, 0)) - half_a_stack)


@pytest.mark.parametrize("key", [VolumeKey(0, 2, 0), VolumeKey(0, 0, 2), VolumeKey(-1)])
def test_volume_that_is_not_planned(key: VolumeKey) -> None:
    with pytest.raises(ConfigError, match="not planned"):
        Scene(CONFIG).truth(key)


def test_time_stands_still_within_a_time_point_also_where_planes_are_exposed_twice() -> None:
    acquisition = AcquisitionConfig(
        time_points=11,
        z_planes=5,
        channels=(Channel(), Channel(preset="FITC")),
        reference=ReferenceConfig(every=4, light=2),
    )
    scene = Scene(VirtualConfig(acquisition=acquisition))
    times = [event["axes"]["time"] for event in events_of(acquisition)]
    assert [scene.time_point(number) for number in range(len(times))] == times
