"""What the page receives beside pictures."""

from __future__ import annotations

from care_live.model.card import Calibration
from care_live.model.reliability import LEVELS, half_width_factor
from care_live.viewer.view_records import NetworkInfo, RunInfo
from care_live.viewer.web import state


def test_the_interval_that_is_drawn_is_the_one_that_was_checked():
    """A factor that falls faster than the width rises would let a wider interval be drawn narrower."""
    calibration = Calibration(levels=(0.5, 0.8, 0.9), factors=(3.0, 1.0, 1.0))
    sent = state.run(RunInfo(networks=(NetworkInfo(calibration=calibration),)), None, "")["half_widths"]
    assert list(sent) == [str(level) for level in LEVELS]
    assert list(sent.values()) == [half_width_factor(level, calibration) for level in LEVELS]
    assert list(sent.values()) == sorted(sent.values())
