"""The plan of an acquisition: endless runs, and channels that are shown twice."""

from __future__ import annotations

from care_live.acquisition_plan import REFERENCE, Plan, PlaneIndex, VolumeKey


def test_an_endless_run_repeats_its_first_time_point() -> None:
    plan = Plan(stacks={VolumeKey(0, 1): (0, 2)}, shape_px=(4, 4), endless=True)
    assert plan.planes_of(VolumeKey(9, 1)) == (0, 2)
    assert plan.planes_of(VolumeKey(9, 0)) is None
    assert plan.n_planes == 2


def test_a_planned_run_has_no_further_volume() -> None:
    plan = Plan(stacks={VolumeKey(0): (0,)}, shape_px=(4, 4))
    assert plan.planes_of(PlaneIndex(0, 0, 0, 5).volume) == (0,)
    assert plan.planes_of(VolumeKey(1)) is None


def test_a_reference_channel_shows_another_one_once_more() -> None:
    plan = Plan(stacks={}, shape_px=(4, 4), channels=("GFP", "RFP", f"RFP{REFERENCE}", f"Cy5{REFERENCE}"))
    assert [plan.twin_of(c) for c in range(5)] == [None, None, 1, None, None]
