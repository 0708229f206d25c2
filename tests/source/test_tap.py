"""Two lines in a script send a run: what the tap passes on, and that it never raises."""

from __future__ import annotations

import numpy as np

from care_live.images import (
    Frame,
    PlaneIndex,
    RunEnded,
    RunStarted,
    VolumeKey,
)
from care_live.source import tap
from care_live.source.remote import Remote
from tests.source.tapped import SHAPE, bring, drain, events, frames, image, over


def test_two_lines_in_a_script_are_a_run(remote: Remote) -> None:
    planned = events()
    tapped = tap(remote.address, events=planned)
    bring(tapped, planned)
    started, *middle, ended = drain(remote)
    assert isinstance(started, RunStarted)
    assert started.run_id == "run"
    assert started.plan.stacks == {VolumeKey(t): (0, 1, 2, 3, 4) for t in range(4)}
    assert (started.plan.shape_px, started.plan.voxel_size_um) == (SHAPE, (0.5, 0.25, 0.25))
    assert ended == RunEnded("finished", n_delivered=20)
    for number, frame in enumerate(middle):
        assert isinstance(frame, Frame)
        assert (frame.arrival, frame.index) == (number, PlaneIndex(t=number // 5, z=number % 5))
        assert (frame.pixels == number).all()
        assert frame.exposure_ms == 10.0
    assert over(tapped), "the tap's thread ends with the acquisition"


def test_what_is_passed_on_is_what_came(remote: Remote) -> None:
    tags = {"Axes": {"time": 0}}
    passing = tap(remote.address)
    came = image(1)
    assert passing(came, tags) == (came, tags)
    came[:] = 0  # the engine may change it now: a copy is on its way
    passing.feed.end("finished")
    assert (frames(drain(remote))[0].pixels == 1).all()
    assert over(passing)


def test_a_tap_that_is_the_only_consumer_passes_nothing_on(remote: Remote) -> None:
    keeping = tap(remote.address, pass_on=False)
    assert keeping(image(2), {"Axes": {"time": 0}}) is None
    keeping.feed.end("finished")
    assert (frames(drain(remote))[0].pixels == 2).all()
    assert over(keeping)


def test_the_tap_never_raises_whatever_comes(remote: Remote) -> None:
    planned = events(1, 2)
    tapped = tap(remote.address, events=planned)
    for pixels, tags in (
        (np.zeros((4, 4, 3), np.uint8), {"Axes": {}}),
        (np.zeros(SHAPE, np.float32), {"Axes": {}}),
        (image(0), {}),
        (image(0), {"Axes": {"time": "soon"}}),
        (image(0), {"Axes": {"z": -3}}),
    ):
        assert tapped(pixels, tags) == (pixels, tags)
    tapped.hardware([{"no": "axes"}, {}])
    bring(tapped, planned)
    got = drain(remote)
    assert len(frames(got)) == 2
    ended = got[-1]
    assert isinstance(ended, RunEnded)
    assert (ended.reason, ended.n_delivered) == ("failed", 2)
    assert "6 frames could not be used, the first because: image is uint8 of shape (4, 4, 3)" in ended.detail
    assert over(tapped)


def test_an_acquisition_that_ends_early_is_aborted(remote: Remote) -> None:
    planned = events()
    tapped = tap(remote.address, events=planned)
    bring(tapped, planned[:7])
    assert drain(remote)[-1] == RunEnded("aborted", "the acquisition ended after 7 of 20 planes", n_delivered=7)
    assert over(tapped)
