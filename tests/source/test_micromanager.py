"""pycromanager's own engine on real Micro-Manager cores, each in a process of its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care_live.config import AcquisitionConfig, Channel, MicroManagerConfig, Position, SourceConfig, VirtualConfig
from care_live.images import Frame, PlaneIndex, RunEnded, RunStarted, SequenceEnded, SourceEvent, VolumeKey
from care_live.source.engine_process import Driven
from care_live.source.micromanager import MicroManagerAcquisition, events_of
from care_live.source.tap import planned
from tests.make.broken_camera import Broken
from tests.make.processes import children

DAPI = (Channel(preset="DAPI", exposure_ms=1.0),)
SEQUENCE_TESTER = """\
Property,Core,Initialize,0
Device,THub,SequenceTester,THub
Device,Camera,SequenceTester,TCamera-0
Device,XY,SequenceTester,TXYStage-0
Device,Z,SequenceTester,TZStage-0
Device,Wheel,SequenceTester,TSwitcher-0
Parent,Camera,THub
Parent,XY,THub
Parent,Z,THub
Parent,Wheel,THub
Property,Camera,ImageMode,MachineReadable
Property,Camera,ImageWidth,64
Property,Camera,ImageHeight,64
Property,Core,Initialize,1
Property,Core,Camera,Camera
Property,Core,Focus,Z
Property,Core,XYStage,XY
Property,Z,TriggerSourceDevice,TCamera-0
Property,Z,TriggerSourcePort,ExposureStartEdge
Property,Z,TriggerSequenceMaxLength,64
ConfigGroup,Channel,DAPI,Wheel,State,0
ConfigGroup,Channel,FITC,Wheel,State,1
"""
"""Devices whose images state where and when they were taken."""


def acquire(config: SourceConfig, *, within_s: float = 120.0, stop_after: int | None = None) -> list[SourceEvent]:
    """Run a source in a process of its own; return all its events."""
    source = Driven(config, run_id="run")  # type: ignore[arg-type]
    got: list[SourceEvent] = []
    until = time.monotonic() + within_s
    try:
        while time.monotonic() < until:
            event = source.next_event(0.5)
            if event is not None:
                got.append(event)
            if stop_after is not None and len(got) > stop_after:
                source.stop()
            if isinstance(event, RunEnded):
                return got
    finally:
        said = source.last_words()
        source.close()
    pytest.fail(f"no end within {within_s} s after {len(got)} events: {said}")


def frames(got: list[SourceEvent]) -> list[Frame]:
    return [event for event in got if isinstance(event, Frame)]


def ended(got: list[SourceEvent]) -> RunEnded:
    last = got[-1]
    assert isinstance(last, RunEnded)
    return last


# -- events -------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 5), st.integers(0, 3), st.integers(1, 2), st.integers(1, 60), st.floats(0.01, 7), st.floats(-50, 50)
)
@settings(deadline=None, max_examples=50)
def test_events_are_counted_and_never_added_up(
    n_t: int, n_positions: int, n_channels: int, n_z: int, step_um: float, start_um: float
) -> None:
    acquisition = AcquisitionConfig(
        time_points=n_t,
        positions=tuple(Position(name=f"p{i}", x_um=i) for i in range(n_positions)),
        channels=tuple(Channel(preset=name) for name in ("DAPI", "FITC")[:n_channels]),
        z_planes=n_z,
        z_start_um=start_um,
        z_step_um=step_um,
    )
    outline = planned(events_of(acquisition))
    n_p = max(1, n_positions)
    assert outline.stacks == {
        VolumeKey(t, p, c): tuple(range(n_z)) for t in range(n_t) for p in range(n_p) for c in range(n_channels)
    }
    heights = [event["z"] for event in events_of(acquisition)][:n_z]
    assert heights == [start_um + z * step_um for z in range(n_z)]


@pytest.mark.mm
def test_an_engine_that_does_not_open_holds_up_no_watching_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Java bridge waits for ever where another program has a port that it goes on to."""
    may_open = threading.Event()

    def never_in_time(*_: object, **__: object) -> None:
        may_open.wait(60)
        raise RuntimeError("the port is taken")

    monkeypatch.setattr("pycromanager.Acquisition", never_in_time)
    acquiring = MicroManagerAcquisition([], Broken(), SimpleNamespace(hardware=None))  # type: ignore[arg-type]
    assert not acquiring.wait(0.0)
    acquiring.abort()
    may_open.set()
    assert acquiring.wait(60)
    assert acquiring.error == "the port is taken"


# -- runs ---------------------------------------------------------------------------------------------------------


@pytest.mark.mm
@pytest.mark.parametrize("merge", [False, True], ids=["snapped", "hardware-sequenced"])
def test_a_small_run_with_the_demo_devices(merge: bool) -> None:
    acquisition = AcquisitionConfig(
        time_points=2,
        z_planes=4,
        z_step_um=0.7,
        channels=(Channel(preset="DAPI", exposure_ms=2), Channel(preset="FITC", exposure_ms=3)),
        positions=(Position(name="left"), Position(name="right", x_um=50)),
        hardware_sequence=merge,
    )
    got = acquire(MicroManagerConfig(acquisition=acquisition))
    started = got[0]
    assert isinstance(started, RunStarted)
    assert (started.plan.channels, started.plan.positions) == (("DAPI", "FITC"), ("left", "right"))
    assert (started.plan.shape_px, started.plan.voxel_size_um) == ((512, 512), (0.7, 0.5, 0.5))
    assert [frame.index for frame in frames(got)] == list(planned(events_of(acquisition)).order)
    assert ended(got) == RunEnded("finished", n_delivered=32)
    assert {frame.exposure_ms for frame in frames(got)} == {2.0, 3.0}
    times_ns = [frame.host_time_ns for frame in frames(got)]
    assert times_ns == sorted(times_ns)
    assert abs(frames(got)[-1].host_time_ns - time.monotonic_ns()) < 60e9, "times are on this machine's clock"
    if merge:
        assert [event for event in got if isinstance(event, SequenceEnded)] == [
            SequenceEnded(i, 4, 4) for i in range(8)
        ]
        assert all(frame.core_time_us is not None for frame in frames(got))


def engines() -> list[psutil.Process]:
    """Return the acquisition processes that we started and that still live."""
    return children(with_words="care_live.source.engine_run")


N_SNAPPED = int(os.environ.get("CARE_LIVE_SNAPPED", "160"))
"""The full measure is 10,000, but these devices take 40 ms to settle before each snap."""


@pytest.mark.mm
@pytest.mark.slow
@pytest.mark.timeout(900 + N_SNAPPED // 10)
@pytest.mark.parametrize(("merge", "n_t"), [(False, N_SNAPPED // 80), (True, 125)], ids=["snapped", "sequenced"])
def test_ten_thousand_planes_lie_where_their_own_pixels_say(tmp_path: Path, merge: bool, n_t: int) -> None:
    pytest.importorskip("msgpack", reason="decoding SequenceTester's images needs msgpack")
    from pymmcore_plus.seq_tester import decode_image

    (tmp_path / "tester.cfg").write_text(SEQUENCE_TESTER)
    acquisition = AcquisitionConfig(
        time_points=n_t,
        positions=(Position(name="a", x_um=10, y_um=-5), Position(name="b", x_um=20, y_um=7.5)),
        channels=(Channel(preset="DAPI", exposure_ms=0.1), Channel(preset="FITC", exposure_ms=0.1)),
        z_planes=20,
        z_start_um=-3.0,
        z_step_um=0.7,
        hardware_sequence=merge,
    )
    config = MicroManagerConfig(acquisition=acquisition, hardware_config=str(tmp_path / "tester.cfg"))
    got = acquire(config, within_s=600 + N_SNAPPED / 10)
    assert ended(got) == RunEnded("finished", n_delivered=80 * n_t)
    assert len({frame.index for frame in frames(got)}) == 80 * n_t
    for number, frame in enumerate(frames(got)):
        said = decode_image(frame.pixels)
        state = {(one.device, one.property): one.value for one in said.current_state}
        assert said.camera_info.cumulative_img_num == number, "a frame was lost or doubled"
        assert said.camera_info.is_sequence is merge
        assert frame.index.t == number // 80
        assert state["TZStage-0", "ZPositionUm"] == pytest.approx(-3.0 + 0.7 * frame.index.z)
        assert state["TXYStage-0", "XPositionSteps"] == (100, 200)[frame.index.p]
        assert state["TSwitcher-0", "Position"] == frame.index.c
    sequences = [event for event in got if isinstance(event, SequenceEnded)]
    assert sequences == ([SequenceEnded(i, 20, 20) for i in range(4 * n_t)] if merge else [])


@pytest.mark.mm
@pytest.mark.slow
def test_what_cannot_begin_is_one_clear_line() -> None:
    for config, says in {
        MicroManagerConfig(hardware_config="absent.cfg"): "there is no Micro-Manager configuration",
        MicroManagerConfig(acquisition=AcquisitionConfig(channels=(Channel(preset="UV"),))): "no preset 'UV'",
    }.items():
        (only,) = acquire(config)
        assert isinstance(only, RunEnded)
        assert only.reason == "failed"
        assert says in only.detail
        assert "\n" not in only.detail


@pytest.mark.mm
@pytest.mark.slow
def test_stop_ends_the_acquisition_and_its_process() -> None:
    acquisition = AcquisitionConfig(time_points=1000, z_planes=10, channels=DAPI)
    got = acquire(MicroManagerConfig(acquisition=acquisition), stop_after=20)
    assert ended(got).reason == "aborted"
    assert 20 <= len(frames(got)) == ended(got).n_delivered < 10_000
    assert not engines()


@pytest.mark.mm
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX only")
def test_a_killed_engine_ends_the_run_and_nothing_that_came_is_lost() -> None:
    acquisition = AcquisitionConfig(time_points=1000, z_planes=10, channels=DAPI)
    source = Driven(MicroManagerConfig(acquisition=acquisition), run_id="run")
    got: list[SourceEvent] = []
    while not got or not isinstance(got[-1], RunEnded):
        event = source.next_event(0.5)
        if event is not None:
            got.append(event)
        if len(got) == 10:
            os.kill(source.process_id, signal.SIGKILL)
    source.close()
    assert ended(got).reason == "failed"
    assert "killed by signal 9" in ended(got).detail
    assert [frame.index for frame in frames(got)] == [PlaneIndex(t=i // 10, z=i % 10) for i in range(len(frames(got)))]
    assert not engines()


# -- the virtual microscope misbehaves ----------------------------------------------------------------------------


def virtual(misbehave: str, *, merge: bool) -> VirtualConfig:
    acquisition = AcquisitionConfig(time_points=3, z_planes=8, channels=DAPI, hardware_sequence=merge)
    return VirtualConfig(
        acquisition=acquisition, specimen="beads", shape_px=(64, 64), misbehave=misbehave, misbehave_at_plane=10
    )  # type: ignore[arg-type]


MISBEHAVING = [
    ("stall", False, "stalled", 10, "no frame for"),
    ("stall", True, "stalled", 10, "no frame for"),
    ("drop", False, "finished", 23, "no new frame for 1 planes"),
    ("drop", True, "failed", 15, "Expected images did not arrive"),
    ("duplicate", True, "finished", 24, ""),
    ("raise", False, "failed", 10, "driver fault at exposure 10"),
    ("raise", True, "failed", 10, "Expected images did not arrive"),
]


@pytest.fixture(scope="module")
def misbehaved() -> dict[tuple[str, bool], list[SourceEvent]]:
    """What came from each misbehaving camera; two at once, since those that stall are mostly waited for."""
    with ThreadPoolExecutor(2) as pool:
        running = {(how, merge): pool.submit(acquire, virtual(how, merge=merge)) for how, merge, *_ in MISBEHAVING}
        return {which: run.result() for which, run in running.items()}


@pytest.mark.mm
@pytest.mark.slow
@pytest.mark.parametrize(("misbehave", "merge", "reason", "n_frames", "says"), MISBEHAVING)
def test_a_misbehaving_camera_is_found_out(
    misbehaved: dict[tuple[str, bool], list[SourceEvent]],
    misbehave: str,
    merge: bool,
    reason: str,
    n_frames: int,
    says: str,
) -> None:
    got = misbehaved[misbehave, merge]
    assert (ended(got).reason, len(frames(got))) == (reason, n_frames)
    assert says in ended(got).detail
    problems = {event.sequence_id: event.problem for event in got if isinstance(event, SequenceEnded) and event.problem}
    assert set(problems) == ({1} if merge else set()), "only the hardware sequence that went wrong is suspect"
    if misbehave == "drop" and not merge:
        assert PlaneIndex(t=1, z=2) not in {frame.index for frame in frames(got)}
    assert all(isinstance(frame.pixels, np.ndarray) and frame.pixels.shape == (64, 64) for frame in frames(got))
