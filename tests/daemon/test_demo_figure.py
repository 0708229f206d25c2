"""The demo's picture: four panels side by side under their captions."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.daemon.demo_figure import picture_of

pytest.importorskip("PIL", reason="the picture needs Pillow")


def test_panels_stand_side_by_side_each_with_its_own_colours() -> None:
    z, y, x = np.mgrid[:4, :24, :32]
    ramp = (z + y + x).astype(np.float32)
    picture = np.asarray(picture_of([ramp, 2 * ramp, ramp, ramp]))
    height = 26 + 24 + 4 + 24 // 2  # caption, plane, gap, and a side view half as tall
    assert picture.shape == (height, 4 * 32 + 3 * 4, 3)
    panels = [picture[27:, 36 * i : 36 * i + 32].astype(int) for i in range(4)]
    grey = [np.ptp(panel, axis=2).max() <= 3 for panel in panels]
    assert grey == [True, True, False, True], "only the uncertainty is coloured"
    assert np.abs(panels[0] - panels[1]).max() <= 1, "each is drawn in its own range"


def test_a_volume_without_contrast_is_drawn_too() -> None:
    flat = np.zeros((2, 8, 8), np.float32)
    assert np.asarray(picture_of([flat] * 4)).shape[2] == 3
