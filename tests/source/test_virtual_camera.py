"""The virtual camera under pycromanager's own engine: what it shows, and each of its misbehaviours."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from care_live.config import AcquisitionConfig, Channel, VirtualConfig

pytest.importorskip("pymmcore_plus")
pytestmark = [pytest.mark.mm]

N_Z = 5
AT = 7
"""The exposure that goes wrong: plane 2 of time point 1."""
CONFIG = VirtualConfig(
    specimen="granules",
    shape_px=(48, 40),
    acquisition=AcquisitionConfig(
        time_points=3, z_planes=N_Z, z_start_um=2.0, channels=(Channel(exposure_ms=1.0),), z_step_um=0.5
    ),
)

Result = dict[str, Any]


def run(config: VirtualConfig, cases: list[dict[str, Any]]) -> list[Result]:
    job = {"config": config.model_dump(mode="json"), "cases": cases}
    script = Path(__file__).with_name("virtual_run.py")
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(job)], capture_output=True, text=True, timeout=560, check=False
    )
    results = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert len(results) == len(cases), done.stdout[-3000:] + done.stderr[-3000:]
    return results


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, bool], Result]:
    """Every misbehaviour, snapped and hardware-sequenced, in one process; the stall ends it."""
    cases = [
        {"misbehave": how, "hardware_sequence": triggered, "at": AT}
        for how in ("no", "drop", "duplicate", "late", "raise", "saturate", "resize")
        for triggered in (False, True)
    ]
    cases.append({"misbehave": "stall", "hardware_sequence": True, "at": AT})
    return {(one["misbehave"], one["hardware_sequence"]): one for one in run(CONFIG, cases)}


def planned() -> list[tuple[int, int]]:
    return [(t, z) for t in range(3) for z in range(N_Z)]


def labels(result: Result) -> list[tuple[int, int]]:
    return [(frame["axes"]["time"], frame["axes"]["z"]) for frame in result["frames"]]


def counts(result: Result) -> list[int]:
    """Return the camera's own counter, from 0 in every case."""
    seen = [int(frame["CameraFrameCount"]) for frame in result["frames"]]
    return [count - seen[0] for count in seen]


def heights(result: Result) -> list[float]:
    """Return where the stage really was, as z index."""
    return [(float(frame["Virtual-Z-um"]) - 2.0) / 0.5 for frame in result["frames"]]


@pytest.mark.parametrize("triggered", [False, True], ids=["snapped", "sequenced"])
def test_all_planes_come_and_the_stage_was_where_the_label_says(
    results: dict[tuple[str, bool], Result], triggered: bool
) -> None:
    result = results["no", triggered]
    assert result["error"] is None
    assert labels(result) == planned()
    assert counts(result) == list(range(15))
    assert np.allclose(heights(result), [z for _, z in planned()], atol=0.02)


def test_snapped_and_sequenced_show_the_same_specimen(results: dict[tuple[str, bool], Result]) -> None:
    snapped, sequenced = (np.array([f["sum"] for f in results["no", how]["frames"]]) for how in (False, True))
    assert np.allclose(snapped, sequenced, rtol=0.03)


def test_dropped_in_a_sequence_shifts_every_later_label(results: dict[tuple[str, bool], Result]) -> None:
    result = results["drop", True]
    assert len(result["frames"]) == 14
    assert "did not arrive" in result["error"]
    assert labels(result) == planned()[:-1]
    assert AT not in counts(result)
    assert heights(result)[AT] == pytest.approx(planned()[AT + 1][1], abs=0.02)


def test_dropped_while_snapping_shows_the_previous_frame_again(results: dict[tuple[str, bool], Result]) -> None:
    result = results["drop", False]
    assert labels(result) == planned()
    assert counts(result)[AT - 1 : AT + 2] == [AT - 1, AT - 1, AT + 1]


def test_duplicated_in_a_sequence_shifts_and_loses_the_last(results: dict[tuple[str, bool], Result]) -> None:
    result = results["duplicate", True]
    assert result["error"] is None
    assert labels(result) == planned()
    assert counts(result) == [*range(AT + 1), *range(AT, 14)]


@pytest.mark.parametrize("triggered", [False, True], ids=["snapped", "sequenced"])
def test_late_frame_comes_after_a_gap(results: dict[tuple[str, bool], Result], triggered: bool) -> None:
    result = results["late", triggered]
    times = [datetime.fromisoformat(frame["TimeReceivedByCore"]).timestamp() for frame in result["frames"]]
    gaps = np.diff(times)
    assert labels(result) == planned()
    assert np.median(gaps) < 1.8 < gaps[AT - 1], "others come at once, but where the machine is held up"


@pytest.mark.parametrize("triggered", [False, True], ids=["snapped", "sequenced"])
def test_raising_camera_ends_the_run(results: dict[tuple[str, bool], Result], triggered: bool) -> None:
    result = results["raise", triggered]
    assert labels(result) == planned()[:AT]
    assert result["error"]


def test_stalled_camera_never_delivers_until_it_is_released(results: dict[tuple[str, bool], Result]) -> None:
    result = results["stall", True]
    assert labels(result) == planned()[:AT]
    assert result["error"]


@pytest.mark.parametrize("triggered", [False, True], ids=["snapped", "sequenced"])
def test_saturated_plane(results: dict[tuple[str, bool], Result], triggered: bool) -> None:
    saturated = [i for i, frame in enumerate(results["saturate", triggered]["frames"]) if frame["max"] == 65535]
    assert saturated == [AT]


@pytest.mark.parametrize("triggered", [False, True], ids=["snapped", "sequenced"])
def test_resized_from_one_plane_on(results: dict[tuple[str, bool], Result], triggered: bool) -> None:
    shapes = [tuple(frame["shape"]) for frame in results["resize", triggered]["frames"]]
    assert shapes == [(48, 40)] * AT + [(24, 20)] * (15 - AT)
