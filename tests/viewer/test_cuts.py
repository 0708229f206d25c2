"""Planes of maps that are finer or coarser than the raw volume."""

from __future__ import annotations

import numpy as np

from care_live.viewer.view_records import ViewedVolume
from care_live.viewer.web import cuts
from tests.make import records


def test_planes_of_a_finer_restored_volume_lie_where_raw_planes_lie():
    raw = records.volume(np.zeros((4, 8, 8), np.uint16))
    shown = ViewedVolume(records.restored(raw, {"mean": np.zeros((12, 8, 8), np.float32)}), raw)
    assert shown.shape == (12, 8, 8)
    assert [cuts.matching(z, 12, 4) for z in (0, 2, 3, 11)] == [0, 0, 1, 3]
    assert [cuts.matching(z, 4, 1) for z in (0, 3)] == [0, 0]  # a projection
