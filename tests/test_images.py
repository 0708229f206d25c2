"""The records that flow."""

import numpy as np
import pytest

from care_live.images import Integrity, Plan, PlaneIndex, VolumeKey, read_only


def test_an_endless_plan_repeats_its_first_time_point():
    plan = Plan(stacks={VolumeKey(0, 1, 2): (0, 1, 2)}, shape_px=(8, 8), endless=True)
    assert plan.planes_of(VolumeKey(99, 1, 2)) == (0, 1, 2)
    assert plan.planes_of(VolumeKey(99, 0, 0)) is None


def test_a_finite_plan_knows_only_its_own_volumes():
    plan = Plan(stacks={VolumeKey(0): (0, 1), VolumeKey(1): (0, 1, 2)}, shape_px=(8, 8))
    assert plan.planes_of(VolumeKey(1)) == (0, 1, 2)
    assert plan.planes_of(VolumeKey(2)) is None
    assert plan.n_planes == 5


def test_missing_planes_are_the_expected_ones_that_did_not_come():
    assert Integrity(expected=(0, 1, 2, 3), received=(3, 1)).missing == (0, 2)


def test_a_plane_knows_its_volume():
    assert PlaneIndex(4, 3, 2, 1).volume == VolumeKey(4, 3, 2)


def test_read_only_shares_memory_and_forbids_writing():
    pixels = np.zeros((2, 2), np.uint16)
    view = read_only(pixels)
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1
    pixels[0, 0] = 7
    assert view[0, 0] == 7
