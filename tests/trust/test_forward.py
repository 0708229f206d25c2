"""What a restoration predicts for its raw volume, by the task of its network."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.model.card import ModelCard
from care_live.trust.forward import NO_BLUR, at_raw_planes, predict, why_not
from care_live.trust.smooth import smooth

CARD = ModelCard(name="test", divisor=(1, 1, 1), halo_px=(0, 0, 0))
MEAN = np.random.default_rng(0).gamma(2.0, 100.0, (9, 24, 24)).astype(np.float32)


def of(task: str, **changes: object) -> ModelCard:
    return CARD.model_copy(update={"task": task, **changes})


def test_a_denoised_volume_predicts_itself() -> None:
    counts, blur = predict(MEAN, MEAN.astype(np.uint16), of("denoise"))
    np.testing.assert_array_equal(counts, MEAN)
    assert blur == NO_BLUR


def test_upsampled_planes_stand_where_raw_ones_did() -> None:
    np.testing.assert_array_equal(at_raw_planes(MEAN, 5), MEAN[::2])
    counts = at_raw_planes(MEAN, 4)
    np.testing.assert_array_equal(counts[[0, -1]], MEAN[[0, -1]])
    np.testing.assert_allclose(counts[1], MEAN[2] / 3 + MEAN[3] * 2 / 3, rtol=1e-5)


def test_every_raw_plane_is_compared_with_the_one_projected() -> None:
    counts, _ = predict(MEAN[:1], np.zeros((6, 24, 24), np.uint16), of("project"))
    assert counts.shape == (6, 24, 24)
    assert (counts == MEAN[0]).all()


def test_the_blur_of_a_deconvolution_is_found_and_kept() -> None:
    seen = smooth(MEAN, (2.0, 1.0, 1.0)) * np.float32(0.8) + np.float32(120)
    found = predict(MEAN, seen, of("deconvolve"))
    assert found.blur_px == (2.0, 1.0, 1.0)
    assert np.abs(found.counts - seen).max() < 1e-3 * seen.max(), "brightness and background are fitted"
    again = predict(MEAN, seen, of("deconvolve"), found.blur_px)
    np.testing.assert_array_equal(again.counts, found.counts)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"output": "normalised"}, "does not give camera counts"),
        ({"channels_in": ("a", "b")}, "mixes channels"),
        ({}, ""),
    ],
)
def test_what_cannot_be_compared_says_why(changes: dict[str, object], why: str) -> None:
    assert why in why_not(of("denoise", **changes))
    assert bool(why_not(of("denoise", **changes))) is bool(why)
