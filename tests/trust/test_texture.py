"""A texture that a network makes up all over a specimen is said, though no place of it stands out."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.trust.examiner import Examiner
from care_live.trust.texture import limit_of
from tests.trust.photons import CARD, SHAPE, measured_camera, noise_of, restored_of, worm

CAMERA = measured_camera(worm(11), pattern=None, pattern_sd=0.0)


def tissue(light: float = 14) -> np.ndarray:
    """Return a band of even light, counts."""
    expected = np.full(SHAPE, 101, np.float32)
    expected[:, :, 30:100] += light
    return expected


def textured(expected: np.ndarray, share: float, period_px: float = 16) -> np.ndarray:
    """Return a restoration whose light rises and falls by a share of itself."""
    y, x = (np.sin(2 * np.pi * np.arange(n) / period_px) for n in SHAPE[1:])
    return np.asarray(expected + share * (expected - 101) * y[:, np.newaxis] * x, np.float32)


def said_of(expected: np.ndarray, restored: np.ndarray):
    return Examiner(CARD, CAMERA).examine(restored_of(noise_of(expected), restored))


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_a_texture_that_was_not_counted_is_said(share: float) -> None:
    trust = said_of(tissue(), textured(tissue(), share))
    assert trust.colour != "green"
    assert any("fine structures in bright places are not those" in reason for reason in trust.reasons), trust


def test_a_texture_that_was_counted_is_green() -> None:
    there = textured(tissue(), 0.4)
    assert said_of(there, there).colour == "green"


def test_what_wide_places_are_off_by_is_no_texture() -> None:
    trust = said_of(tissue(), textured(tissue(), 0.12, period_px=100))
    assert not [reason for reason in trust.reasons if "fine structures" in reason], trust


def test_the_dark_shows_no_texture() -> None:
    dark = tissue(0)
    examiner = Examiner(CARD, CAMERA)
    examiner.examine(restored_of(noise_of(dark), dark))
    assert examiner.found is not None
    assert examiner.found.texture_sd == 0


def test_few_bright_places_say_less_of_a_texture() -> None:
    assert limit_of(100_000, 1.05) == 1.05
    assert 1.2 < limit_of(1200, 1.05) < limit_of(700, 1.05) < 1.4
    assert limit_of(0, 1.05) > 10, "nothing shows it"
