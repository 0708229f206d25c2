"""Codes come back as the numbers that they stand for; zero, infinity and NaN have one meaning everywhere."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from care_live.viewer.web import coding
from care_live.wire import number_codes


@given(st.integers(0, 2**32 - 1), st.floats(1e-20, 1e20))
@settings(max_examples=30, deadline=None)
def test_a_logarithm_is_within_its_error_below_the_largest_and_what_is_less_is_code_0(seed: int, size: float) -> None:
    values = (np.random.default_rng(seed).uniform(1e-6, 1, (5, 6)) * size).astype(np.float32)
    coded = number_codes.log2(values)
    back = number_codes.values(coded)
    assert coded.codes.max() == number_codes.LARGEST_CODE
    assert np.abs(back / values - 1)[coded.codes > 0].max() < 0.026
    assert (values < 1.03 * back)[coded.codes == 0].all()


def test_no_number_is_the_last_code_and_zero_is_the_first() -> None:
    values = np.array([[np.inf, 1.0, np.nan, 0.0, 0.5]], np.float32)
    coded = number_codes.log2(values)
    assert_array_equal(coded.codes, [[255, 254, 255, 0, 238]])
    assert_array_equal(np.isinf(number_codes.values(coded)), [[True, False, True, False, False]])
    assert coding.logarithmic(values).data == coded.codes.tobytes()


def test_even_steps_reach_both_ends_and_both_sides_of_0() -> None:
    values = np.array([-3.0, 0.0, 7.5, 12.0], np.float32)
    even, sides = number_codes.affine(values, -3.0, 12.0), number_codes.signed(values, 10.0)
    assert_array_equal(number_codes.values(even)[[0, 3]], values[[0, 3]])
    assert np.abs(number_codes.values(even) - values).max() <= even.step / 2
    assert number_codes.values(sides)[1] == 0
    np.testing.assert_allclose(number_codes.values(sides), [-3.0, 0.0, 7.5, 10.0], atol=sides.step / 2)
