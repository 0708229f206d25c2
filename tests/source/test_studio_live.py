"""Live and snaps in a real window are shown, each frame once, and none is taken from those who look at the window."""

from __future__ import annotations

from contextlib import closing

import pytest

from care_live.config import StudioConfig
from care_live.live_frame import LiveFrame
from care_live.source.java_bridge import JavaBridge
from care_live.source.studio import StudioSource
from care_live.source.studio_live import StudioLive
from tests.make.waiting import until
from tests.source.window_driver import WindowDriver

pytestmark = [pytest.mark.java, pytest.mark.slow, pytest.mark.timeout(900)]


def test_live_and_snaps_of_the_window_are_shown(driver: WindowDriver, window_port: int) -> None:
    with closing(StudioSource(StudioConfig(port=window_port), run_id="run")) as source:
        assert source.seen.wait(60)
        assert source.live.take(1.0) is None, "nothing is shown yet"
        driver.live(True)
        try:
            frames = [source.live.take(60) for _ in range(5)]
        finally:
            driver.live(False)
        numbers = [frame.number for frame in frames if frame]
        assert len(numbers) == 5
        assert numbers == sorted(set(numbers))
        assert len({frame.pixels.tobytes() for frame in frames if frame}) == 5
        assert frames[0] is not None
        assert (frames[0].pixels.shape, frames[0].conditions.exposure_ms) == ((128, 128), 2.0)
        while (frame := source.live.take(2.0)) is not None:
            assert not frame.conditions.snapped
        driver.snap()
        snapped = source.live.take(60)
    assert snapped is not None
    assert snapped.conditions.snapped
    assert snapped.pixels.tobytes() not in {frame.pixels.tobytes() for frame in frames if frame}


def test_frames_are_counted_with_the_light_that_they_cost(bridge: JavaBridge, driver: WindowDriver) -> None:
    """The camera's own count goes on between two looks; the last frame of Live stays in the window, and is no snap."""
    watching = StudioLive(bridge, bridge.open())
    frames: list[LiveFrame] = []

    def look() -> None:
        frame = watching.newest()
        frames.extend([] if frame is None else [frame])

    look()
    assert (frames, watching.is_live) == ([], False)
    driver.live(True)
    try:
        until(lambda: look() or len(frames) >= 4, 120.0)
    finally:
        driver.live(False)
    assert watching.is_live
    until(lambda: look() or not watching.is_live, 120.0)
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers))
    for frame in frames:
        assert not frame.conditions.snapped
        assert frame.conditions.light_s == pytest.approx(0.002 * frame.number)
    n_live = len(frames)
    driver.snap()
    until(lambda: look() or len(frames) > n_live, 120.0)
    assert frames[-1].conditions.snapped and frames[-1].number == numbers[-1] + 1
    watching.release()
