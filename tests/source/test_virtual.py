"""The truth of the virtual microscope, and that its frames show it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from care_live.config import AcquisitionConfig, Channel, Position, VirtualConfig
from care_live.errors import ConfigError
from care_live.images import Frame, RunEnded, VolumeKey
from care_live.simulate.scene import Scene
from care_live.source import open_source
from care_live.source.virtual import truth
from tests.source.test_virtual_camera import CONFIG

pytest.importorskip("pymmcore_plus")
pytestmark = [pytest.mark.mm]


def test_truth_is_what_the_scene_says() -> None:
    assert np.array_equal(truth(CONFIG, VolumeKey(1)), Scene(CONFIG).truth(VolumeKey(1)))


def test_unplanned_truth_is_refused() -> None:
    with pytest.raises(ConfigError, match="not planned"):
        truth(CONFIG, VolumeKey(0, p=1))


def test_frames_of_the_whole_source_are_what_the_truth_says() -> None:
    """Through engine, tap and link: every volume's frames are its own truth plus noise, and that of no other."""
    acquisition = AcquisitionConfig(
        time_points=2,
        z_planes=4,
        positions=(Position(name="a"), Position(name="b", x_um=80.0, y_um=-40.0)),
        channels=(Channel(exposure_ms=4.0), Channel(preset="FITC", exposure_ms=8.0)),
        hardware_sequence=True,
    )
    config = VirtualConfig(
        specimen="granules", shape_px=(64, 48), acquisition=acquisition, laser_power=20.0, specimen_step_s=4.0
    )
    volumes = recorded(config)
    truths = {key: truth(config, key) for key in volumes}
    assert len(volumes) == 8
    for key, pixels in volumes.items():
        residual = {other: np.abs(pixels - expected).mean() for other, expected in truths.items()}
        assert min(residual, key=lambda other: residual[other]) == key
        assert abs((pixels - truths[key]).mean()) < 0.01 * truths[key].mean()


def recorded(config: VirtualConfig) -> dict[VolumeKey, Any]:
    source = open_source(config, run_id="virtual")
    volumes: dict[VolumeKey, Any] = {}
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            event = source.next_event(1.0)
            if isinstance(event, Frame):
                empty = np.zeros((config.acquisition.z_planes, *config.shape_px))
                volumes.setdefault(event.index.volume, empty)[event.index.z] = event.pixels
            if isinstance(event, RunEnded):
                assert event.reason == "finished", event
                return volumes
        pytest.fail("the run did not end")
    finally:
        source.close()
