"""Which frames of a focus sweep a 3D network reads together, and what a running average shows."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.config import LiveConfig
from care_live.daemon.live_restoring import FocusSweep, RunningAverage
from care_live.live_frame import LiveConditions, LiveFrame


def frame(z_um: float, value: int = 100, exposure_ms: float = 10.0) -> LiveFrame:
    conditions = LiveConditions(exposure_ms=exposure_ms, z_um=z_um)
    return LiveFrame(np.full((4, 4), value, np.uint16), 1, host_time_ns=0, conditions=conditions)


@pytest.mark.parametrize(
    ("heights", "stack", "at"),
    [
        pytest.param([0, 1, 2], [0, 1, 2], 2, id="upwards"),
        pytest.param([2, 1, 0], [0, 1, 2], 0, id="downwards"),
        pytest.param([0, 1, 2, 3, 4], [2, 3, 4], 2, id="the last ones"),
        pytest.param([0, 1, 1, 1], [0, 1], 1, id="standing still"),
        pytest.param([0, 1, 2, 1.5], [1.5], 0, id="turned round"),
        pytest.param([5], [5], 0, id="the first"),
    ],
)
def test_a_sweep_is_the_last_frames_of_one_direction_from_the_lowest_up(
    heights: list[float], stack: list[float], at: int
) -> None:
    sweep = FocusSweep(3)
    for height in heights:
        frames, place = sweep.add(frame(height))
    assert [one.conditions.z_um for one in frames] == stack
    assert place == at


def test_another_exposure_begins_a_sweep_anew() -> None:
    sweep = FocusSweep(3)
    sweep.add(frame(0))
    assert len(sweep.add(frame(1, exposure_ms=20.0))[0]) == 1


def test_a_running_average_forgets_another_height() -> None:
    average = RunningAverage(LiveConfig(average_frames=2))
    shown = [average.show(frame(0, value), t)[0].mean[0, 0, 0] for t, value in enumerate([100, 200, 400])]
    assert shown == [100, 150, 275]
    (moved,) = average.show(frame(1, 50), 3)
    assert moved.mean.max() == 50
    assert moved.model.name == "running average of 2"
