"""What there is of one volume is read from the restored record, else from the raw one."""

from __future__ import annotations

import numpy as np

from care_live.images import VolumeKey
from care_live.raw_and_restored import RawAndRestored
from tests.make import records

COUNTS = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)


def test_a_restored_volume_says_what_it_is() -> None:
    raw = records.volume(COUNTS, VolumeKey(3, 0, 1))
    restored = records.restored(raw, key=VolumeKey(3, 0, 0), voxel_size_um=(0.5, 0.5, 0.5), flags=frozenset({"late"}))
    both = RawAndRestored(restored, raw)
    assert (both.key, both.voxel_size_um, both.flags) == (VolumeKey(3, 0, 0), (0.5, 0.5, 0.5), {"late"})
    assert both.model == restored.model
    assert both.mean is restored.maps["mean"]
    assert both.raw is raw.pixels


def test_a_raw_one_says_so() -> None:
    raw = records.volume(COUNTS, VolumeKey(3, 0, 1))
    alone = RawAndRestored(None, raw)
    assert (alone.key, alone.voxel_size_um) == (raw.key, raw.voxel_size_um)
    assert (alone.maps, alone.mean, alone.model, alone.flags) == ({}, None, None, frozenset())


def test_raw_planes_that_were_not_sent_are_none() -> None:
    unsent = records.volume(np.empty((0, 0, 0), np.uint16))
    assert RawAndRestored(None, unsent).raw is None
    slab = records.planes(VolumeKey(1), {"mean": np.ones((2, 3, 4), np.float32)}, slice(0, 2), 9)
    assert RawAndRestored(slab, None).raw is None
