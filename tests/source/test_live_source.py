"""A virtual microscope in Live that is driven by orders: it moves, acquires a run, and goes on with Live."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
import psutil
import pytest

from care_live.config import LiveSourceConfig, VirtualConfig
from care_live.errors import SourceError
from care_live.images import Frame, RunEnded, RunStarted, SourceEvent
from care_live.live_frame import LiveFrame
from care_live.source import tap
from care_live.source.live_source import LiveSource
from tests.make.processes import children
from tests.make.waiting import until

WAIT_S = 90.0
LOOPBACK = "tcp://127.0.0.1:0"


def live_frame(source: LiveSource, **wanted: float) -> LiveFrame:
    """Return a frame that was taken under these conditions: an order is carried out part by part, between frames."""
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        frame = source.live.take(1.0)
        if frame is not None and all(getattr(frame.conditions, name) == value for name, value in wanted.items()):
            return frame
    pytest.fail(f"no frame with {wanted}")


def events_of_a_run(source: LiveSource) -> list[SourceEvent]:
    events: list[SourceEvent] = []
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s and not (events and isinstance(events[-1], RunEnded)):
        event = source.next_event(0.2)
        events += [] if event is None else [event]
        source.stored(sum(isinstance(one, Frame) for one in events))
    return events


@pytest.mark.mm
@pytest.mark.slow
def test_it_moves_records_a_run_and_goes_on_with_live(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    microscope = VirtualConfig.model_validate({"shape_px": (64, 64), "acquisition": {"pixel_size_um": 0.325}})
    source = LiveSource(LiveSourceConfig(bind=LOOPBACK, bind_runs=LOOPBACK, microscope=microscope), run_id="evening")
    try:
        assert live_frame(source, z_um=0.0).pixels.shape == (64, 64)
        source.move({"z_um": 4.0, "laser": 2.0, "exposure_ms": 5.0})
        live_frame(source, z_um=4.0, laser=2.0, exposure_ms=5.0)
        source.move({"acquire": {"time_plan": {"interval": 0, "loops": 2}, "channels": ["DAPI"]}})
        started, *middle, ended = events_of_a_run(source)
        assert isinstance(started, RunStarted) and started.run_id == "evening"
        assert started.plan.voxel_size_um[1:] == (0.325, 0.325)
        assert sum(isinstance(event, Frame) for event in middle) == 2
        assert isinstance(ended, RunEnded) and ended.reason == "finished"
        source.next_run()
        with suppress(SourceError):  # it fails at once, or later than its sender waits
            source.move({"acquire": {"time_plan": {"interval": 0, "loops": 2}, "channels": ["no such preset"]}})
        failed = events_of_a_run(source)[-1]
        assert isinstance(failed, RunEnded) and failed.reason != "finished"
        source.next_run()
        source.move({"z_um": 6.0})
        live_frame(source, z_um=6.0)
        assert "no such preset" in caplog.text
        assert "LaserPower" in refusal(source, {"laser": 5e5})
        check_that_runs_of_others_outlive_the_microscope(source, caplog)
        killed = events_of_a_run(source)[-1]
        assert isinstance(killed, RunEnded) and killed.detail.startswith("the microscope has ended (exit code ")
        with pytest.raises(SourceError, match="the microscope has ended"):
            source.move({"z_um": 1.0})
    finally:
        source.stop()
        source.close()


def kill_microscope() -> None:
    for child in children(with_words="care_live.source.live_run"):
        with suppress(psutil.NoSuchProcess):
            child.kill()


def microscope_has_ended(source: LiveSource) -> bool:
    try:
        source.move({"z_um": 1.0})
    except SourceError as error:
        return "the microscope has ended" in str(error)
    return False


def is_quiet(source: LiveSource) -> bool:
    """Take what has come; an end of the run would be wrong."""
    event = source.next_event(0.1)
    assert not isinstance(event, RunEnded), event
    return event is None


def check_that_runs_of_others_outlive_the_microscope(source: LiveSource, log: pytest.LogCaptureFixture) -> None:
    """Another program's run goes on, and the one that waits in line behind it is recorded, too."""
    pixels, tags = np.ones((32, 48), np.uint16), {"Axes": {"time": 0}}
    first, second = (tap(source.address_of_runs, events=[{"axes": {"time": 0}}]) for _ in range(2))
    first(pixels, tags)
    until(lambda: isinstance(source.next_event(0.1), RunStarted), WAIT_S)
    second(pixels, tags)
    second.feed.end("finished")
    kill_microscope()
    until(lambda: is_quiet(source) and microscope_has_ended(source) and "this one waits in line" in log.text, WAIT_S)
    assert is_quiet(source)
    first.feed.end("finished")
    assert events_of_a_run(source)[-1] == RunEnded("finished", n_delivered=1)
    source.stored(1)  # its frame came before: the tap need not wait for that
    source.next_run()
    assert events_of_a_run(source)[-1] == RunEnded("finished", n_delivered=1)
    source.next_run()


def refusal(source: LiveSource, order: dict[str, float]) -> str:
    """Return how the sender of an order learns that it failed; on a busy machine some orders outlast the wait."""
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        try:
            source.move(order)
        except SourceError as error:
            return str(error)
    pytest.fail("the order did not fail")
