"""Faults 12, 13 and 25: planes are lost, doubled, late or of another shape; Micro-Manager dies; a buffer overflows."""

from __future__ import annotations

import psutil
import pytest

from care_live.images import VolumeKey
from care_live.store import RunReader, verify
from tests.faults.lab import DaemonUnderTest, daemon
from tests.make.processes import children

pytest.importorskip("pymmcore_plus")
pytestmark = [pytest.mark.slow, pytest.mark.mm, pytest.mark.timeout(600)]

N_T, N_Z, AT = 4, 5, 7
"""The exposure that goes wrong is plane 2 of time point 1."""
N_LONG = 40
"""Time points of an acquisition that is at work for seconds after its first ones were stored."""


def microscope(misbehave: str = "no", *, triggered: bool = False, time_points: int = N_T) -> dict[str, object]:
    """Return a small virtual microscope as a source."""
    acquisition = {
        "time_points": time_points,
        "z_planes": N_Z,
        "z_start_um": 2.0,
        "z_step_um": 0.5,
        "hardware_sequence": triggered,
    }
    return {
        "kind": "virtual",
        "specimen": "granules",
        "shape_px": [48, 40],
        "misbehave": misbehave,
        "misbehave_at_plane": AT,
        "plane_rate_hz": 40.0,
        "acquisition": acquisition,
    }


def planes_stored(run: DaemonUnderTest) -> dict[int, tuple[int, ...]]:
    """Return which planes of each time point came, as the run says."""
    reader = RunReader(run.run)
    return {key.t: tuple(reader.read_raw(key).integrity.received) for key in reader.keys("raw")}


def test_12_a_plane_is_lost_in_a_hardware_sequence(tmp_path):
    """The engine labels later frames one too early: the volume is suspect, and the run says that it failed."""
    with daemon(tmp_path, source=microscope("drop", triggered=True)) as losing:
        losing.end(1)
    reader = RunReader(losing.run)
    assert planes_stored(losing) == {0: (0, 1, 2, 3, 4), 1: (0, 1, 2, 3)}
    assert [reader.state(key) for key in reader.keys("raw")] == ["confirmed", "suspect"]
    assert reader.read_raw(VolumeKey(1)).integrity.missing == (4,)
    assert reader.ended is not None and reader.ended.reason == "failed"
    assert verify(losing.run).clean


@pytest.mark.parametrize("misbehave", ["duplicate", "late"])
def test_12_a_plane_comes_twice_or_late(tmp_path, misbehave):
    """Planes are never shifted, and every plane that came is in its place."""
    with daemon(tmp_path, source=microscope(misbehave)) as confused:
        confused.end(code=None)
    stored = planes_stored(confused)
    assert stored[0] == tuple(range(N_Z))
    assert all(planes == tuple(sorted(planes)) for planes in stored.values())
    assert sum(map(len, stored.values())) >= N_T * N_Z - 1
    assert verify(confused.run).clean


def test_13_wrong_shape_mid_run(tmp_path):
    """Each such plane is refused, with what was expected and what came, and counted; volumes say what they lack."""
    with daemon(tmp_path, source=microscope("resize"), arguments=("-vv",)) as resized:
        status = resized.end(1)
    stored = planes_stored(resized)
    n_refused = N_T * N_Z - sum(map(len, stored.values()))
    assert stored[0] == (0, 1, 2, 3, 4) and n_refused == N_T * N_Z - AT
    assert status["dropped_planes"] == {"wrong-shape": n_refused} and status["lost_planes"] == n_refused
    refusals = [line for line in resized.log.splitlines() if "reason=wrong-shape" in line]
    assert len(refusals) == n_refused and all("(48, 40)" in line for line in refusals)
    assert verify(resized.run).clean


def engine_process(of: DaemonUnderTest) -> psutil.Process:
    """Return the daemon's child that has the microscope."""
    (engine,) = children(of.process, with_words="care_live.source.engine_run")
    return engine


def test_25_micromanager_dies(tmp_path):
    """What came is kept, the run says that it did not finish, and the daemon's exit code too."""
    with daemon(tmp_path, source=microscope(time_points=400)) as cut:
        cut.wait_for_volumes(3)
        engine_process(cut).kill()
        assert cut.process.wait(120) == 1, cut.log
    reader = RunReader(cut.run)
    assert reader.ended is not None and reader.ended.reason in {"failed", "stalled"}
    assert 3 <= len(reader.keys("raw")) < 400
    assert verify(cut.run).clean
    assert cut.log.splitlines()[-1].startswith("care-live: ")


def test_25_the_run_goes_on_with_another_micromanager(tmp_path):
    """Started again on the same run, the time points that were not taken are taken, and no other."""
    with daemon(tmp_path, source=microscope(time_points=N_LONG)) as first:
        first.wait_for_volumes(3)
        engine_process(first).kill()
        first.process.wait(120)
    before = planes_stored(first)
    is_cut = any(len(planes) < N_Z for planes in before.values())
    with daemon(tmp_path, source=microscope(time_points=N_LONG)) as second:
        second.end(1 if is_cut else 0)  # a volume that was cut lacks its planes for ever, and the run says so
    after = planes_stored(second)
    assert set(after) == set(range(N_LONG))
    assert {t: after[t] for t in before} == before
    assert verify(second.run).clean
