"""Codes that travel to a browser, and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from care_live.viewer.web import coding


@given(st.integers(0, 2**32 - 1), st.floats(1e-20, 1e20))
@settings(max_examples=30, deadline=None)
def test_logarithmic_codes_keep_any_scale_within_its_error(seed, size):
    image = (np.random.default_rng(seed).uniform(0.01, 1, (5, 6)) * size).astype(np.float32)
    coded = coding.logarithmic(image)
    codes = np.frombuffer(coded.data, np.uint8).reshape(coded.shape)
    back = np.exp2(coded.offset + coded.step * codes.astype(np.float64))
    assert np.abs(back / image - 1).max() < 0.026


def test_infinite_scale_is_the_largest_code_and_nan_never_travels():
    image = np.array([[np.inf, 1.0, np.nan, 0.0]], np.float32)
    assert list(coding.logarithmic(image).data) == [255, 254, 255, 0]
    assert np.isfinite(coding.exact(image).offset)
