"""The lies of the demo: one nucleus more, one less, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.simulate.lies import lie
from care_live.trust.examiner import Examiner
from tests.trust.photons import CARD, measured_camera, restored_of, worm


@pytest.mark.parametrize(("t", "kind"), [(1, "invented"), (2, "missing")])
def test_the_light_turns_red_where_a_lie_is(t: int, kind: str) -> None:
    scene = worm(11)
    mean = scene.truth.copy()
    lie(mean, t, 40.0)
    changed = np.argwhere(mean != scene.truth)
    trust = Examiner(CARD, measured_camera(scene)).examine(restored_of(scene.raw, mean))
    assert trust.colour == "red"
    assert trust.doubts[0].kind == kind
    assert (np.abs(np.subtract(trust.doubts[0].place_px, changed.mean(axis=0))) < (4, 6, 6)).all()


def test_other_time_points_are_left_as_they_are() -> None:
    mean = worm(11).truth.copy()
    for t in (0, 3, 7):
        lie(mean, t, 40.0)
    assert (mean == worm(11).truth).all()
