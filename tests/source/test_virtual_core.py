"""The virtual microscope's core: its engines, the presets of its channels, its light, and the time of its specimen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from care_live.config import Channel
from tests.source.test_virtual_camera import CONFIG, run

pytest.importorskip("pymmcore_plus")
pytestmark = [pytest.mark.mm]


def test_other_engines_and_channels_and_laser_power_and_specimen_time() -> None:
    """The second channel shows the other dye, more power more light, every time point the specimen older."""
    acquisition = CONFIG.acquisition.model_copy(
        update={"channels": (Channel(preset="DAPI"), Channel(preset="FITC")), "time_points": 2, "z_planes": 2}
    )
    config = CONFIG.model_copy(update={"acquisition": acquisition, "specimen_step_s": 3.0})
    cases: list[dict[str, Any]] = [
        {"misbehave": "no", "hardware_sequence": False, "laser_power": power} for power in (1.0, 30.0)
    ]
    cases.append({"misbehave": "no", "hardware_sequence": True, "engine": "pymmcore-plus"})
    dim, bright, other = run(config, cases)
    assert [(frame["z"], float(frame["Virtual-Z-um"])) for frame in other["frames"]] == [
        (z, 2.0 + 0.5 * z) for z in range(5)
    ]
    assert [float(frame["Virtual-Time-s"]) for frame in dim["frames"]] == [0.0] * 4 + [3.0] * 4
    sums = np.array([[frame["sum"] - 100.0 * 48 * 40 for frame in one["frames"]] for one in (dim, bright)])
    assert np.all(sums[1] > 15 * sums[0])
    per_channel = sums[1].reshape(2, 2, 2).sum(axis=(0, 2))
    assert per_channel[0] > 1.02 * per_channel[1]
