"""Fewer mantissa bits: the bits that are kept, and numbers that are none."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from care_live.store.rounding import keep_mantissa_bits


@given(st.integers(4, 23), st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40))
@settings(deadline=None)
def test_rounding_keeps_the_promised_bits_and_what_is_rounded_stays(bits, numbers):
    pixels = np.array([[numbers]], np.float32)
    rounded = keep_mantissa_bits(pixels, bits)
    normal = (np.abs(pixels) > 1e-37) & (np.abs(pixels) < 3e38)
    np.testing.assert_allclose(rounded[normal], pixels[normal], rtol=2.0 ** -(bits + 1))
    np.testing.assert_array_equal(keep_mantissa_bits(rounded, bits), rounded)
    if bits < 23:
        assert not (rounded.view(np.uint32)[normal] & np.uint32((1 << (23 - bits)) - 1)).any()


def test_rounding_leaves_nan_and_infinity_what_they_are():
    all_ones = np.array(0x7FFFFFFF, np.uint32).view(np.float32)
    odd = np.array([[[np.nan, all_ones, np.inf, -np.inf, 0.0]]], np.float32)
    np.testing.assert_array_equal(keep_mantissa_bits(odd, 10), odd)
