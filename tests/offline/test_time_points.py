"""Time points of a recording are read as those of a live run are assembled, references apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from care_live.images import PlaneIndex, VolumeKey
from care_live.offline.time_points import TimePoint, TimePoints
from care_live.recorded.array import ArrayRecording
from tests.make.networks import noisy

MOVIE = np.stack([np.stack([noisy((3, 8, 8), seed=10 * t + c) for c in range(2)]) for t in range(2)])
"""(t, c, z, y, x)"""


def test_all_channels_of_a_time_point_come_together_and_in_order() -> None:
    points = TimePoints(ArrayRecording(MOVIE, "TCZYX"), run_id="test")
    assert points.all == (TimePoint(0, 0), TimePoint(0, 1)) and points.at == {0: list(points.all)}
    volumes = points.read(points.all[1])
    assert [volume.key for volume in volumes] == points.keys(points.all[1]) == [VolumeKey(1, 0, 0), VolumeKey(1, 0, 1)]
    for c, volume in enumerate(volumes):
        assert np.array_equal(volume.pixels, MOVIE[1, c])
        assert volume.closed == "complete" and volume.run_id == "test"
    assert points.references(points.all[1]) == () and not points.has_reference(points.all[1])
    assert points.light_until(points.all[1]) == (0.0, 0.0), "the recording does not say how long it was exposed"


def test_a_plane_that_was_never_recorded_is_flagged() -> None:
    recording = ArrayRecording(MOVIE, "TCZYX")
    lost = PlaneIndex(0, 0, 1, 2)
    order = [index for index in recording.contents.order if index != lost]
    recording.contents = replace(recording.contents, order=order)
    first, second = TimePoints(recording, run_id="test").read(TimePoint(0, 0))
    assert first.integrity.missing == ()
    assert second.integrity.missing == (2,)
