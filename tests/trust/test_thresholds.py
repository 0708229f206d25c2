"""What noise alone exceeds in one volume of a hundred."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.trust.doubtful_places import LEAST_SIGMAS
from care_live.trust.thresholds import deviation, noise_sd, thresholds_of

NO_BLUR = (0.0, 0.0, 0.0)


def test_more_places_and_more_noise_need_a_higher_threshold() -> None:
    few, many = (thresholds_of(n, NO_BLUR, 1.0) for n in (10_000, 1_000_000))
    assert many[0] > few[0] >= LEAST_SIGMAS
    assert thresholds_of(1_000_000, NO_BLUR, 1.5)[0] == pytest.approx(1.5 * many[0])
    assert thresholds_of(1_000_000, (1.0, 2.0, 2.0), 1.0)[0] < many[0], "smoothed places are fewer"
    assert all(missing >= invented for invented, missing in (few, many))


def test_noise_alone_is_seldom_beyond_it() -> None:
    rng, shape = np.random.default_rng(0), (8, 32, 32)
    invented, missing = thresholds_of(int(np.prod(shape)), NO_BLUR, 1.0)
    volumes = [rng.standard_normal(shape) for _ in range(100)]
    assert sum(z.max() > missing or z.min() < -invented for z in volumes) <= 3


def test_the_noise_is_that_of_the_light_or_of_the_dark_whichever_is_more() -> None:
    rng = np.random.default_rng(1)
    is_lit = np.zeros((4, 32, 32), bool)
    is_lit[:, :16] = True
    z = (rng.standard_normal(is_lit.shape) * np.where(is_lit, 1.4, 0.9)).astype(np.float32)
    assert noise_sd(z, is_lit) == pytest.approx(1.4, rel=0.1)
    assert noise_sd(np.zeros_like(z), is_lit) == 0.7, "a pattern that was learnt takes noise away"


def test_the_deviation_is_that_of_statistics() -> None:
    z = np.random.default_rng(2).normal(3.0, 2.0, (5, 20, 30)).astype(np.float32)
    assert deviation(z) == pytest.approx(float(z.std()), rel=1e-4)
    assert deviation(np.full((2, 3, 4), 5, np.float32)) == pytest.approx(0.0, abs=1e-3)
