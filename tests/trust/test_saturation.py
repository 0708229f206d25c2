"""Which voxels are at the largest count of the camera."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.trust.saturation import ceiling_of, saturated_share


@pytest.mark.parametrize("largest", [255, 1023, 4095, 16383, 65535])
def test_a_volume_that_reaches_the_largest_count_of_a_camera_has_a_ceiling(largest: int) -> None:
    raw = np.full((2, 4, 4), 100, np.uint16)
    raw[1, 2, 3] = largest
    assert ceiling_of(raw) == largest
    assert saturated_share(raw) == pytest.approx(1 / 32)
    raw[1, 2, 3] = largest - 1
    assert ceiling_of(raw) is None
    assert saturated_share(raw) == 0


def test_an_empty_volume_has_no_ceiling() -> None:
    assert ceiling_of(np.empty((0, 4, 4), np.uint16)) is None
    assert saturated_share(np.empty((0, 4, 4), np.uint16)) == 0
