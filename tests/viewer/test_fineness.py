"""How coarse pictures become on a slow link."""

from __future__ import annotations

from care_live.viewer.web.fineness import Fineness, Pace

EXACT = Fineness(lossy=False, level=0)


def test_pace_goes_coarse_on_a_slow_link_and_fine_again_without_swinging():
    pace = Pace()
    for _ in range(6):
        pace.measure(1.0)
    assert pace.fineness("auto") == Fineness(lossy=True, level=2)
    assert pace.fineness("exact") == Fineness(lossy=False, level=0)
    for _ in range(20):
        pace.measure(0.2)  # neither slow nor quick
    assert pace.step == 3
    for _ in range(3 * Pace.QUICK):
        pace.measure(0.01)
    assert pace.fineness("auto") == EXACT


def test_one_slow_picture_is_no_slow_link():
    pace = Pace()
    for seconds in (2.0, 0.1, 2.0, 0.1):
        pace.measure(seconds)
    assert pace.fineness("auto") == EXACT
