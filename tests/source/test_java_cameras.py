"""Two cameras behind a Multi Camera of a real Java Micro-Manager: every plane of both has its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from care_live.config import AcquisitionConfig, Channel, MicroManagerConfig
from care_live.images import RunEnded, RunStarted, SequenceEnded
from tests.source.java_program import java_program
from tests.source.test_micromanager import acquire, ended, frames

pytestmark = [pytest.mark.java, pytest.mark.mm, pytest.mark.slow]

N_Z = 12


@pytest.mark.timeout(600)
def test_both_cameras_of_a_java_micro_manager_are_placed(tmp_path: Path) -> None:
    with java_program("engine", tmp_path) as port:
        subprocess.run([sys.executable, "-m", "tests.source.two_cameras", str(port)], check=True, timeout=120)
        for merge in (False, True):
            acquisition = AcquisitionConfig(
                time_points=2, z_planes=N_Z, channels=(Channel(exposure_ms=2.0),), hardware_sequence=merge
            )
            got = acquire(MicroManagerConfig(backend="java", port=port, acquisition=acquisition), within_s=120)
            started = got[0]
            assert isinstance(started, RunStarted), ended(got)
            assert started.plan.channels == ("DAPI Camera", "DAPI Cam2")
            assert ended(got) == RunEnded("finished", n_delivered=4 * N_Z)
            assert {frame.index for frame in frames(got)} == {
                (*key, z) for key, planes in started.plan.stacks.items() for z in planes
            }
            assert len({frame.pixels.tobytes() for frame in frames(got)}) == 4 * N_Z, "the camera's noise repeats"
            sequences = [event for event in got if isinstance(event, SequenceEnded)]
            assert sequences == ([SequenceEnded(i, 2 * N_Z, 2 * N_Z) for i in range(2)] if merge else [])
