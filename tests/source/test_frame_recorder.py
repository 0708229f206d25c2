"""What a recorder takes of an engine's frames: it neither raises nor waits, and its verdict counts what was lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from care_live.images import Frame, RunEnded, RunStarted
from care_live.source.frame_recorder import FrameRecorder
from care_live.source.outline import outline_of
from care_live.source.remote import Remote
from care_live.source.tap_sender import Endpoint
from tests.source.tapped import SHAPE, drain, frames, image


@pytest.fixture
def feed(remote: Remote) -> Iterator[FrameRecorder]:
    outline = outline_of([({"time": 0, "z": z}, 0.5 * z) for z in range(3)])
    recorder = FrameRecorder(Endpoint(remote.address), outline=outline)
    recorder.open()
    yield recorder
    recorder.end("aborted", within_s=0.0)
    recorder.close("aborted", within_s=0.0)


def bring(feed: FrameRecorder, z: int, **tags: Any) -> None:
    feed.frame(image(z), {"Axes": {"time": 0, "z": z}, **tags}, give=False)


def over(feed: FrameRecorder, remote: Remote) -> list[Any]:
    feed.end(*feed.verdict())
    return drain(remote)


def test_a_frame_is_its_pixels_its_place_and_the_cameras_own_count(feed: FrameRecorder, remote: Remote) -> None:
    for z in range(3):
        bring(feed, z, Exposure=12.5, FrameNumber=40 + z, ImageNumber=z)
    got = over(feed, remote)
    started, middle, ended = got[0], frames(got), got[-1]
    assert isinstance(started, RunStarted) and started.plan.shape_px == SHAPE
    assert [frame.camera_count for frame in middle] == [40, 41, 42], "the core's ImageNumber proves nothing"
    assert [(frame.index.z, frame.exposure_ms) for frame in middle] == [(z, 12.5) for z in range(3)]
    assert ended == RunEnded("finished", n_delivered=3)


def test_pixels_are_copied_unless_they_are_given_away(feed: FrameRecorder, remote: Remote) -> None:
    kept, given = image(0), image(1)
    feed.frame(kept, {"Axes": {"time": 0, "z": 0}}, give=False)
    feed.frame(given, {"Axes": {"time": 0, "z": 1}}, give=True)
    kept[:] = 99
    sent = frames(over(feed, remote))
    assert [(frame.pixels == z).all() for z, frame in enumerate(sent)] == [True, True]


def test_a_view_of_another_array_is_copied_though_it_is_given_away(feed: FrameRecorder, remote: Remote) -> None:
    ring = np.zeros((2, *SHAPE), np.uint16)
    feed.frame(ring[1], {"Axes": {"time": 0, "z": 0}}, give=True)
    ring[:] = 7  # the buffer of a camera is used again
    assert (frames(over(feed, remote))[0].pixels == 0).all()


@pytest.mark.parametrize(
    ("pixels", "tags", "why"),
    [
        (np.zeros((4, 4, 3), np.uint8), {"Axes": {"z": 0}}, "of shape (4, 4, 3)"),
        (np.zeros((4, 4), np.float32), {"Axes": {"z": 0}}, "float32"),
        (np.zeros((0, 4), np.uint16), {"Axes": {"z": 0}}, "cannot be sent"),
        (np.zeros((1, 70_000), np.uint16), {"Axes": {"z": 0}}, "cannot be sent"),
        (np.zeros(SHAPE, np.uint16), {}, "Axes"),
        (np.zeros(SHAPE, np.uint16), {"Axes": {"z": 0}, "CameraChannelIndex": 1}, "first camera's pixels"),
    ],
)
def test_what_cannot_be_used_is_counted_and_named_and_never_raised(
    feed: FrameRecorder, pixels: np.ndarray, tags: dict[str, Any], why: str
) -> None:
    bring(feed, 0)
    feed.frame(pixels, tags, give=False)
    feed.frame(pixels, tags, give=False)
    reason, detail = feed.verdict()
    assert reason == "failed" and why in detail and detail.startswith("2 frames could not be used")
    assert feed.n_came == 3


def test_a_run_that_lacks_planes_was_aborted(feed: FrameRecorder) -> None:
    assert feed.verdict() == ("aborted", "the acquisition ended after 0 of 3 planes")
    for z in range(3):
        bring(feed, z)
    assert (feed.n_planned, feed.n_came, feed.verdict()) == (3, 3, ("finished", ""))


def test_announcements_never_raise(feed: FrameRecorder) -> None:
    feed.announce(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    assert feed.verdict()[0] == "failed"


def test_only_the_first_end_counts_and_a_run_without_frames_is_announced(remote: Remote) -> None:
    feed = FrameRecorder(Endpoint(remote.address), summary={"microscope": "none came"})
    feed.open()
    feed.end("failed", "no stage")
    feed.end("finished")
    started, ended = drain(remote)
    assert isinstance(started, RunStarted) and started.plan.stacks == {}
    assert ended == RunEnded("failed", "no stage")
    assert feed.close() and feed.is_over()


def test_frames_that_come_after_the_end_are_not_sent(feed: FrameRecorder, remote: Remote) -> None:
    bring(feed, 0)
    feed.end("finished")
    bring(feed, 1)
    got = drain(remote)
    assert sum(isinstance(event, Frame) for event in got) == 1
    assert got[-1] == RunEnded("finished", n_delivered=1)
