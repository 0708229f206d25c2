"""Silence is what a process waited through."""

from __future__ import annotations

from care_live.awake_clock import AwakeClock


def test_a_pause_between_two_readings_counts_as_a_second_at_most():
    times_ns = iter([5, 10, 400_000_010, 3_600_000_000_000, 3_600_000_000_007])
    clock = AwakeClock(lambda: next(times_ns))
    assert [clock() for _ in range(4)] == [5, 400_000_005, 1_400_000_005, 1_400_000_012]
