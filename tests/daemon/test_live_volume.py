"""A frame of Live as a volume of one plane."""

from __future__ import annotations

import numpy as np

from care_live.daemon.live_volume import as_live, volume_of
from care_live.images import VolumeKey
from care_live.live_frame import LIVE_RUN, LiveConditions, LiveFrame
from tests.make.records import restored

CONDITIONS = LiveConditions(exposure_ms=12.5, pixel_um=0.25)


def frame() -> LiveFrame:
    pixels = np.arange(24, dtype=np.uint16).reshape(4, 6)
    return LiveFrame(pixels, number=0, host_time_ns=7, conditions=CONDITIONS)


def test_a_frame_is_a_complete_volume_of_one_plane() -> None:
    volume = volume_of(frame(), 3)
    assert (volume.run_id, volume.key, volume.pixels.shape) == (LIVE_RUN, VolumeKey(3), (1, 4, 6))
    assert volume.voxel_size_um == (1.0, 0.25, 0.25)
    assert (volume.exposure_ms, volume.first_plane_ns, volume.last_plane_ns) == (12.5, 7, 7)
    assert not volume.integrity.missing and volume.state == "confirmed"
    assert not volume.pixels.flags.writeable


def test_its_restoration_stands_under_the_key_of_what_is_shown() -> None:
    made_of = volume_of(frame(), 0)
    shown = volume_of(frame(), 9)
    result = as_live(restored(made_of), shown)
    assert (result.key, result.sources, result.volume) == (VolumeKey(9), (VolumeKey(9),), shown)
    np.testing.assert_array_equal(result.mean, made_of.pixels)
