"""What reference planes measure is the error that the truth shows, though the reference has noise of its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from care_live.metrics import psnr_db
from care_live.trust.reference import LEVEL, Twins, followed, measure

GAIN, OFFSET, READ_E = 2.2, 100.0, 1.6


def counted(electrons: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    light = rng.poisson(electrons) + rng.normal(0, READ_E, electrons.shape)
    return np.clip(np.rint(OFFSET + GAIN * light), 0, 65535).astype(np.uint16)


def scene(seed: int, *, error_e: float = 1.0, light: float = 30.0, width: float = 1.0) -> tuple[Twins, np.ndarray]:
    """A plane of 20 electrons at its brightest, exposed dimly and with *light* times more; a network that errs."""
    rng = np.random.default_rng(seed)
    electrons = ndimage.gaussian_filter(rng.random((160, 160)) ** 8, 2)
    electrons *= 20 / electrons.max()
    truth = OFFSET + GAIN * electrons
    scale = GAIN * error_e * (0.5 + electrons / 20)
    mean = truth + rng.laplace(0, scale)
    half_width = width * -np.log1p(-LEVEL) * scale
    return Twins(counted(electrons, rng), counted(light * electrons, rng), mean, half_width), truth


@pytest.mark.parametrize("error_e", [0.5, 1.0, 3.0])
def test_the_measured_psnr_is_that_of_the_truth(error_e: float) -> None:
    twins, truth = scene(1, error_e=error_e)
    assert measure([twins]).psnr_db == pytest.approx(psnr_db(twins.mean, truth), abs=0.5)


@pytest.mark.parametrize("error_e", [0.5, 3.0])
def test_the_gain_over_a_filter_is_that_of_the_truth(error_e: float) -> None:
    twins, truth = scene(1, error_e=error_e)
    raw = twins.raw.astype(np.float32)
    of_filter = max(psnr_db(ndimage.gaussian_filter(raw, width_px), truth) for width_px in (0.7, 1.0, 1.4, 2.0, 2.8))
    assert measure([twins]).gain_db == pytest.approx(psnr_db(twins.mean, truth) - of_filter, abs=0.5)


def test_the_coverage_of_honest_intervals_is_the_nominal_one() -> None:
    figures = measure([scene(seed)[0] for seed in range(3)])
    assert figures.coverage(1.0) == pytest.approx(LEVEL, abs=0.02)
    assert figures.wanted_widening() == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("width", [0.4, 2.5])
def test_intervals_that_are_wrong_are_widened_until_they_hold(width: float) -> None:
    figures = measure([scene(2, width=width)[0]])
    wanted = figures.wanted_widening()
    assert wanted == pytest.approx(1 / width, rel=0.15)
    assert figures.coverage(wanted) == pytest.approx(LEVEL, abs=0.005)


def test_the_light_of_the_reference_need_not_be_known() -> None:
    bright, truth = scene(3, light=80.0)
    assert measure([bright]).psnr_db == pytest.approx(psnr_db(bright.mean, truth), abs=0.5)


def test_a_network_without_a_scale_has_an_error_and_no_coverage() -> None:
    twins, _ = scene(4)
    figures = measure([Twins(twins.raw, twins.reference, twins.mean, None)])
    assert figures.coverage(1.0) is None and figures.wanted_widening() is None
    assert figures.nrmse > 0


def test_a_constant_reference_says_nothing() -> None:
    twins, _ = scene(5)
    with pytest.raises(ValueError, match="constant"):
        measure([Twins(twins.raw, np.full_like(twins.raw, 7), twins.mean, twins.half_width)])


def test_the_widening_follows_and_what_may_be_chance_moves_it_little() -> None:
    assert followed(1.0, 2.0) == pytest.approx(2.0)
    assert 1.01 < followed(1.0, 1.05) < 1.03
    steps = [1.0]
    for _ in range(8):
        steps.append(followed(steps[-1], 1.3))
    assert steps == sorted(steps)
    assert steps[-1] == pytest.approx(1.3, rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_noise_of_the_reference_does_not_widen_the_range(seed: int) -> None:
    rng = np.random.default_rng(seed)
    electrons = np.zeros((160, 160))
    electrons[rng.integers(20, 140, 30), rng.integers(20, 140, 30)] = 1
    electrons = ndimage.gaussian_filter(electrons, 3)
    electrons *= 4 / electrons.max()
    truth = OFFSET + GAIN * electrons
    mean = truth + np.where(electrons > 0.1, rng.normal(0, 0.6, truth.shape), 0)
    twins = Twins(counted(electrons, rng), counted(30 * electrons, rng), mean, None)
    assert measure([twins]).psnr_db == pytest.approx(psnr_db(mean, truth), abs=0.5)
