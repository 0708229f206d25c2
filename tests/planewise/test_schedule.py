"""Steps by arrival of planes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from care_live.planewise import schedule


@given(st.integers(1, 50), st.integers(1, 8))
def test_steps_end_with_the_stack_and_the_last_takes_one_plane(n_planes: int, step: int) -> None:
    live, whole = schedule.live_boundaries(n_planes, step), schedule.whole_boundaries(n_planes, step)
    assert live[-1] == whole[-1] == n_planes
    assert list(live) == sorted(set(live)) and list(whole) == sorted(set(whole))
    assert n_planes == 1 or live[-2] == n_planes - 1
