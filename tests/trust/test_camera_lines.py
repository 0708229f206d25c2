"""Broken lines of the camera are said to be the camera's, and no structure is taken for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from care_live.trust import camera_lines, residual
from care_live.trust.camera_lines import CameraLines
from care_live.trust.examiner import Examiner
from tests.trust.photons import CARD, OFFSET, measured_camera, noise_of, restored_of, worm


def of(raw: np.ndarray, predicted: np.ndarray, **changed: Any) -> CameraLines:
    camera = measured_camera(worm(11), **changed)
    return camera_lines.broken(residual.residual_of(raw, predicted, camera), raw, camera)


def dead(raw: np.ndarray, restored: np.ndarray) -> None:
    """Count nothing in a column, which the network restores as darkness."""
    raw[:, :, 41] = restored[:, :, 41] = OFFSET


def brighter(raw: np.ndarray, restored: np.ndarray) -> None:
    raw[:, :, 41] += 25


def row(raw: np.ndarray, restored: np.ndarray) -> None:
    raw[:, 70] -= 12


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (dead, CameraLines(columns=(41,))),
        (brighter, CameraLines(columns=(41,))),
        (row, CameraLines(rows=(70,))),
    ],
)
def test_broken_lines_are_amber_and_named(change: Callable[[Any, Any], None], lines: CameraLines) -> None:
    raw, restored = worm(11).raw.copy(), worm(11).truth.copy()
    change(raw, restored)
    assert of(raw, restored) == lines
    trust = Examiner(CARD, measured_camera(worm(11))).examine(restored_of(raw, restored))
    assert trust.colour == "amber", trust
    assert any(camera_lines.cautions(lines)[0] == reason for reason in trust.reasons)


@pytest.mark.parametrize("seed", [11, 12])
def test_a_good_camera_has_no_broken_lines(seed: int) -> None:
    assert of(worm(seed).raw, worm(seed).truth, pattern=None) == CameraLines()


def test_a_straight_fibre_that_was_left_out_is_a_structure() -> None:
    truth = worm(11).truth.copy()
    truth[4:9, 10:80, 60:63] += 30
    assert of(noise_of(truth), worm(11).truth, pattern=None) == CameraLines()


def test_a_dark_margin_is_no_broken_line() -> None:
    truth = worm(11).truth.copy() * 20
    truth[:, :, :5] = OFFSET
    assert of(noise_of(truth), truth, pattern=None) == CameraLines()


def test_fields_too_small_to_tell_have_none() -> None:
    small = np.full((2, 10, 10), 100, np.uint16)
    assert of(small, small.astype(np.float32), pattern=None) == CameraLines()


def test_a_row_that_is_read_with_noise_of_its_own_in_each_plane_is_not_broken() -> None:
    raw = worm(11).raw.astype(np.int32)
    raw[:, 70] += np.resize([14, -10], len(raw))[:, np.newaxis]
    assert of(raw.astype(np.uint16), worm(11).truth) == CameraLines()
