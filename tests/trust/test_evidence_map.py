"""The map of the evidence: its marks are where the verdict finds contradictions, on the side that it names."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.maps import MAPS
from care_live.model.card import EvidenceLimits
from care_live.trust import evidence, evidence_map, residual
from care_live.wire import number_codes
from tests.trust.photons import SHAPE, measured_camera, nucleus, worm

PLACE = (8.0, 40.0, 90.0)
KIND = MAPS["evidence"]
MARK, LIMIT = KIND.mark or 0.0, KIND.limit or 0.0


def drawn(
    predicted: np.ndarray, *, n_planes: int = SHAPE[0], allowance: float = 0.02
) -> tuple[evidence.Evidence, np.ndarray]:
    scene = worm(11)
    camera = measured_camera(scene)
    left = residual.residual_of(scene.raw, predicted, camera)
    found = evidence.examine(left, camera, evidence.Expected(EvidenceLimits(allowance=allowance), 40))
    into = np.full((n_planes, *evidence_map.grid(*SHAPE[1:])), np.nan, np.float32)
    evidence_map.draw(found, into)
    return found, into


def test_a_right_restoration_has_no_mark() -> None:
    found, drawing = drawn(worm(11).truth)
    assert not found.doubts
    assert np.abs(drawing).max() < MARK
    assert 0.01 < (drawing != 0).mean() < 0.2, "of the noise only what is far from 0"


@pytest.mark.parametrize(("electrons", "side"), [(4, -1), (-4, 1)])
def test_what_is_false_is_marked_where_it_is_and_on_its_side(electrons: float, side: int) -> None:
    _, drawing = drawn(worm(11).truth + nucleus(PLACE, electrons))
    places = np.argwhere(np.abs(drawing) >= MARK) * (1, residual.BIN_PX, residual.BIN_PX)
    assert len(places) > 10
    assert np.abs(places - PLACE).max() < 14
    assert (np.sign(drawing[np.abs(drawing) >= MARK]) == side).all()


def test_an_error_of_intensity_is_no_mark_however_large() -> None:
    found, drawing = drawn(100 + 1.12 * (worm(11).truth - 100), allowance=0.12)
    assert not found.doubts
    assert max(float(np.abs(z).max()) for z in found.maps) > MARK
    assert np.abs(drawing).max() < MARK


def test_its_codes_and_its_planes_are_those_of_the_restored_volume() -> None:
    _, drawing = drawn(worm(11).truth + nucleus(PLACE, 30), n_planes=2 * SHAPE[0] - 1)
    np.testing.assert_array_equal(drawing[::2], drawn(worm(11).truth + nucleus(PLACE, 30))[1])
    assert drawing.min() == -LIMIT
    copied = number_codes.values(number_codes.signed(drawing, LIMIT))
    assert copied.tobytes() == drawing.tobytes(), "a recorder's copy is the same to the sign of 0"


def test_a_field_of_odd_size_has_a_square_for_its_last_row() -> None:
    assert evidence_map.grid(5, 8) == (3, 4)
