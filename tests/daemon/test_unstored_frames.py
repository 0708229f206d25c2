"""Which frames a source may forget: pure bookkeeping."""

from __future__ import annotations

from care_live.daemon.unstored_frames import UnstoredFrames
from care_live.images import VolumeKey


def test_everything_before_the_oldest_open_volume_is_safe() -> None:
    frames = UnstoredFrames()
    frames.arrive(0, VolumeKey(0))
    frames.arrive(1, VolumeKey(1))
    frames.arrive(2)
    assert frames.begin == 0
    frames.settle(VolumeKey(1))
    assert (frames.begin, len(frames)) == (0, 1), "a later volume is stored first"
    frames.settle(VolumeKey(0))
    assert (frames.begin, len(frames)) == (3, 0)


def test_a_frame_without_a_place_needs_no_storage() -> None:
    frames = UnstoredFrames()
    frames.arrive(0)
    assert frames.begin == 1
    frames.settle(VolumeKey(9))
    assert frames.begin == 1
