"""Live of a large camera: the centre with every frame, the whole field once all its parts are there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from care_live.config import LiveConfig
from care_live.daemon.live_field import WHOLE_FIELD, FieldInParts
from care_live.daemon.live_restoring import NetworkOnLive
from care_live.images import Restored, Volume, VolumeKey
from care_live.live_frame import LIVE_RUN, LiveConditions, LiveFrame
from care_live.model.file import shipped
from care_live.worker.client import RestoreProcess
from tests.make.inference import settings

REGION_PX = 128


@pytest.fixture(scope="module")
def restorer() -> Iterator[RestoreProcess]:
    process = RestoreProcess(settings(shipped("live2d")).model_copy(update={"evidence": False}))
    process.start()
    yield process
    process.stop()


def test_the_centre_comes_with_every_frame_and_the_field_when_it_is_whole(restorer: RestoreProcess) -> None:
    """Its parts are those of the same frame here, and together what the network makes of the whole."""
    config = LiveConfig(region_px=REGION_PX)
    field = FieldInParts(NetworkOnLive(restorer, config), config)
    pixels = np.random.default_rng(1).poisson(30, (320, 256)).astype(np.uint16)
    frame = LiveFrame(pixels, 1, 0, LiveConditions(exposure_ms=10.0))
    shown = [field.show(frame, t) for t in range(1, 60)]
    for t, (centre, *_) in enumerate(shown, start=1):
        assert centre.key == VolumeKey(t)
        assert centre.mean.shape == (1, REGION_PX, REGION_PX)
        assert centre.volume.run_id == LIVE_RUN
    wholes = [more[0] for _, *more in shown if more]
    assert [whole.key.p for whole in wholes] == [WHOLE_FIELD] * len(wholes)
    assert len(wholes) >= 1
    assert wholes[-1].mean.shape == (1, 320, 256)
    np.testing.assert_array_equal(wholes[-1].volume.pixels[0], pixels)
    assert (wholes[-1].mean != 0).all()
    steps = np.abs(np.diff(wholes[-1].mean[0], axis=1))
    assert steps.max() < 20 * steps.mean()  # no seam between parts


def test_a_small_frame_is_shown_whole(restorer: RestoreProcess) -> None:
    config = LiveConfig(region_px=REGION_PX)
    field = FieldInParts(NetworkOnLive(restorer, config), config)
    frame = LiveFrame(np.full((64, 72), 100, np.uint16), 1, host_time_ns=0)
    for t in range(4, 9):
        (shown,) = field.show(frame, t)
        assert shown.mean.shape == (1, 64, 72)
        assert field.raw(frame, t).pixels.shape == (1, 64, 72)


def test_a_field_never_has_parts_of_two_channels_or_sizes(restorer: RestoreProcess) -> None:
    """A person changes the channel, or the camera's field, while it is filled."""
    config = LiveConfig(region_px=REGION_PX)
    field = FieldInParts(NetworkOnLive(restorer, config), config)

    def fill(shape: tuple[int, int], channel: str, n_frames: int) -> list[Restored | Volume]:
        pixels = np.random.default_rng(1).poisson(30, shape).astype(np.uint16)
        frame = LiveFrame(pixels, 1, 0, LiveConditions(exposure_ms=10.0, channel=channel))
        return [one for t in range(4, 4 * n_frames + 4, 4) for one in field.show(frame, t)[1:]]

    assert not fill((256, 384), "GFP", 2)
    assert not fill((256, 384), "RFP", 5)
    (first,) = fill((256, 384), "RFP", 1)
    assert first.key.p == WHOLE_FIELD
    assert not fill((256, 384), "RFP", 2)
    (second,) = fill((256, 256), "RFP", 4)
    assert isinstance(second, Restored) and second.mean.shape == (1, 256, 256)
