"""Which plane reads which: checked against what the definitions say, for every small size."""

from __future__ import annotations

import doctest

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from care_live.planewise import motion, schedule
from care_live.planewise.motion import SlidingWindow, Spread

SIZES = st.integers(1, 7)


def test_examples_are_true() -> None:
    assert doctest.testmod(motion).failed == 0
    assert doctest.testmod(schedule).failed == 0


@given(SIZES, SIZES, st.integers(0, 3), st.integers(1, 12))
def test_a_window_reads_what_a_convolution_reads(size: int, step: int, pad: int, n_planes: int) -> None:
    stack, kernel = np.arange(1, n_planes + 1), 10.0 ** np.arange(size)
    padded = np.pad(stack, pad)
    for plane in range((n_planes + 2 * pad - size) // step + 1):
        wanted = (padded[plane * step : plane * step + size] * kernel).sum()
        taps = SlidingWindow(size, step, pad).taps(plane, n_planes)
        assert sum(kernel[tap.kernel] * stack[tap.plane] for tap in taps) == wanted


@given(SIZES, SIZES, st.integers(0, 3), st.integers(1, 12))
def test_a_spread_writes_what_a_transposed_convolution_writes(size: int, step: int, pad: int, n_planes: int) -> None:
    stack, kernel = np.arange(1, n_planes + 1), 10.0 ** np.arange(size)
    wide = np.zeros((n_planes - 1) * step + size)
    for i, value in enumerate(stack):
        wide[i * step : i * step + size] += value * kernel
    for plane in range(max(0, len(wide) - 2 * pad)):
        taps = Spread(size, step, pad).taps(plane, n_planes)
        assert sum(kernel[tap.kernel] * stack[tap.plane] for tap in taps) == wide[plane + pad]


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 5))
def test_reflected_planes_are_those_of_numpy(n_planes: int, before: int, after: int) -> None:
    wanted = np.pad(np.arange(n_planes), (before, after), mode="reflect")
    assert motion.padded_planes(n_planes, before, after, "reflect") == tuple(wanted)
