"""Percentiles: numpy's figures from mergeable histograms, and undo after apply."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from care_live import percentiles
from care_live.percentiles import Span, flicker, histogram, measure, span_of


@given(
    hnp.arrays(st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(min_dims=1, max_dims=3)),
    st.floats(0, 50),
    st.floats(50, 100),
)
def test_measure_is_numpy_percentile(pixels: np.ndarray, low: float, high: float) -> None:
    span = measure(pixels, low, high)
    assert [span.low, span.high] == pytest.approx(np.percentile(pixels, [low, high]).tolist(), rel=1e-12, abs=1e-9)


def test_histograms_of_planes_add_up() -> None:
    stack = np.random.default_rng(1).integers(0, 4000, (5, 20, 30)).astype(np.uint16)
    merged = sum((histogram(plane) for plane in stack), start=np.zeros(65536, np.int64))
    assert (merged == histogram(stack)).all()
    assert span_of(merged, 2, 99.8) == measure(stack, 2, 99.8)


@given(st.floats(0, 1000), st.floats(1, 60000), hnp.arrays(np.uint16, (3, 4)))
def test_undo_after_apply(low: float, width: float, pixels: np.ndarray) -> None:
    span = Span(low, low + width)
    assert np.allclose(span.undo(span.apply(pixels)), pixels, rtol=1e-5, atol=1e-2)


def test_a_flat_field_stays_finite() -> None:
    span = measure(np.full((4, 4), 7, np.uint16), 2, 99.8)
    assert span == Span(7.0, 7.0)
    assert np.isfinite(span.apply(np.full((4, 4), 7, np.uint16))).all()


def test_nothing_measured_is_an_empty_span() -> None:
    assert span_of(np.zeros(65536, np.int64), 2, 99.8) == Span(0.0, 0.0)


def test_docstring_examples() -> None:
    assert doctest.testmod(percentiles, extraglobs={"np": np}).failed == 0


def test_flicker_is_the_largest_move_of_an_unchanged_pixel() -> None:
    old, new = Span(100, 300), Span(90, 340)
    pixels = np.arange(100, 301, dtype=np.uint16)
    moved = np.abs(old.apply(pixels) - new.apply(pixels)).max()
    assert flicker(old, new) == pytest.approx(float(moved), rel=1e-5)
