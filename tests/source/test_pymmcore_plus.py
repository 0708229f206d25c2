"""pymmcore-plus: observe what somebody else runs, run a sequence from a file, replay what it wrote."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.config import PymmcorePlusConfig, RemoteConfig, ReplayConfig
from care_live.images import Frame, RunEnded, RunStarted, SequenceEnded, SourceEvent, VolumeKey
from care_live.source import Source, open_source
from care_live.source.remote import Remote

pytestmark = [pytest.mark.mm, pytest.mark.slow]

SEQUENCE = """\
axis_order: tpcz
time_plan: {interval: 0, loops: 2}
stage_positions: [{x: 0, y: 0, z: 0}, {x: 20, y: 5, z: 1, name: far}]
channels: [{config: DAPI, exposure: 2}, {config: FITC, exposure: 3}]
z_plan: {range: 1.5, step: 0.5}
"""
OTHERS_PROGRAM = """\
import sys
from pymmcore_plus import CMMCorePlus
import useq
from care_live.source.pymmcore_plus import observe

core = CMMCorePlus.instance()
core.loadSystemConfiguration()
core.setProperty("Camera", "OnCameraCCDXSize", "64")
core.setProperty("Camera", "OnCameraCCDYSize", "48")
observer = observe(core, sys.argv[1])
sequence = useq.MDASequence.from_file(sys.argv[2])
if sys.argv[3] == "hardware":
    core.setProperty("Z", "UseSequences", "Yes")
    core.mda.engine.use_hardware_sequencing = True
core.mda.run(sequence, output=sys.argv[4:] or None)
assert observer.close(within_s=60)
import os
sys.stdout.flush()
os._exit(0)  # pymmcore-plus may abort when the interpreter ends
"""
"""What napari-micromanager would be: another program that runs a sequence; two lines of it are ours."""


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    path = tmp_path / "sequence.yaml"
    path.write_text(SEQUENCE)
    return path


def drain(source: Source) -> list[SourceEvent]:
    got: list[SourceEvent] = []
    for _ in range(600):
        event = source.next_event(0.2)
        if event is not None:
            got.append(event)
        if isinstance(event, RunEnded):
            return got
    pytest.fail(f"no end; got {len(got)} events")


def observe_others(sequence: Path, *arguments: str) -> list[SourceEvent]:
    remote = Remote(RemoteConfig(bind="tcp://127.0.0.1:0"), run_id="run")
    program = sequence.parent / "others.py"
    program.write_text(textwrap.dedent(OTHERS_PROGRAM))
    process = subprocess.Popen(
        [sys.executable, str(program), remote.address, str(sequence), *arguments], stderr=subprocess.PIPE, text=True
    )
    try:
        got = drain(remote)
        for _ in range(600):
            remote.next_event(0.1)
            if process.poll() is not None:
                break
    finally:
        process.kill()
        _, said = process.communicate(timeout=60)
        remote.close()
    assert process.returncode == 0, said
    return got


STACKS = {VolumeKey(t, p, c): (0, 1, 2, 3) for t in range(2) for p in range(2) for c in range(2)}


@pytest.mark.parametrize("how", ["snapped", "hardware"])
def test_a_sequence_that_somebody_else_starts_is_observed(sequence: Path, how: str) -> None:
    started, *middle, ended = observe_others(sequence, how)
    assert isinstance(started, RunStarted)
    assert started.plan.stacks == STACKS
    assert (started.plan.shape_px, started.plan.dtype, started.plan.channels) == ((48, 64), "uint16", ("DAPI", "FITC"))
    assert started.plan.voxel_size_um == (0.5, 1.0, 1.0)
    assert len(started.plan.positions) == 2
    frames = [event for event in middle if isinstance(event, Frame)]
    assert {frame.index for frame in frames} == {(*key, z) for key, planes in STACKS.items() for z in planes}
    assert ended == RunEnded("finished", n_delivered=32)
    sequences = [event for event in middle if isinstance(event, SequenceEnded)]
    assert bool(sequences) is (how == "hardware")
    assert sum(one.n_received for one in sequences) == sum(frame.sequence_id is not None for frame in frames)
    assert all(one.problem is None for one in sequences)


def test_a_sequence_from_a_file_is_run(sequence: Path) -> None:
    source = open_source(PymmcorePlusConfig(sequence=sequence), run_id="run")
    started, *middle, ended = drain(source)
    source.close()
    assert isinstance(started, RunStarted)
    assert started.plan.stacks == STACKS
    assert ended == RunEnded("finished", n_delivered=32)
    assert {frame.exposure_ms for frame in middle if isinstance(frame, Frame)} == {2.0, 3.0}


def test_a_file_that_is_no_sequence_is_one_clear_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("z_plan: {range: -1, step: none}\n")
    source = open_source(PymmcorePlusConfig(sequence=bad), run_id="run")
    (ended,) = drain(source)
    source.close()
    assert isinstance(ended, RunEnded)
    assert ended.reason == "failed"
    assert "is not a useq sequence" in ended.detail


def test_an_ome_tiff_that_pymmcore_plus_wrote_is_replayed_plane_for_plane(tmp_path: Path) -> None:
    """What was observed live, what lies in the file, and what replay gives are the same pixels."""
    single = tmp_path / "single.yaml"
    single.write_text(SEQUENCE.replace("stage_positions: [{x: 0, y: 0, z: 0}, {x: 20, y: 5, z: 1, name: far}]\n", ""))
    path = tmp_path / "written.ome.tiff"
    live = {
        event.index: event.pixels for event in observe_others(single, "snapped", str(path)) if isinstance(event, Frame)
    }
    assert len(live) == 16
    direct = tifffile.imread(path)
    source = open_source(ReplayConfig(path=path), run_id="run")
    started, *frames, ended = drain(source)
    source.close()
    assert isinstance(started, RunStarted)
    assert started.plan.channels == ("DAPI", "FITC")
    assert ended == RunEnded("finished", n_delivered=16)
    for frame in frames:
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.pixels, live[frame.index])
        np.testing.assert_array_equal(frame.pixels, direct[frame.index.t, frame.index.c, frame.index.z])
