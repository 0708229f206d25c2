"""An engine's process: what it may do at once, and what it leaves behind it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from care_live.config import AcquisitionConfig
from care_live.source.micromanager import by_time_point, events_of


def test_only_one_time_point_may_become_one_hardware_sequence() -> None:
    events = events_of(AcquisitionConfig(time_points=3, z_planes=4))
    assert [[event["axes"]["time"] for event in together] for together in by_time_point(events)] == [
        [0, 0, 0, 0],
        [1, 1, 1, 1],
        [2, 2, 2, 2],
    ]


UNLOADING = """
import mm_test_adapters, pycromanager
from care_live.source import engine_run
pycromanager.start_headless(mm_test_adapters.device_adapter_path(), "MMConfig_demo.cfg", python_backend=True)
core, order = pycromanager.Core(), []
stop, unload = core.stop_sequence_acquisition, core.unloadAllDevices
core.stop_sequence_acquisition = lambda: (order.append("stop"), stop())
core.unloadAllDevices = lambda: (order.append("unload"), unload())
core.start_continuous_sequence_acquisition(0.1)
engine_run.unload()
print(*order, len(core.get_loaded_devices()))
"""


@pytest.mark.mm
def test_the_camera_is_stopped_before_its_devices_are_unloaded() -> None:
    done = subprocess.run([sys.executable, "-c", UNLOADING], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["stop", "unload", "1"]  # the core counts as a device
