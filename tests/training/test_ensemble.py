"""Disagreement against a finer quadrature, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from care_live.training.ensemble import closest_scale, mixture_disagreement
from tests.make import mixture
from tests.make.mixture import DISAGREEMENTS


def disagreement(means: np.ndarray, scales: np.ndarray) -> float:
    as_tensors = ([torch.tensor([float(value)]) for value in values] for values in (means, scales))
    return float(mixture_disagreement(*as_tensors))


def random_mixture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 8))
    if seed % 2:
        return rng.normal(size=n) * 10 ** rng.uniform(-2, 1), 10 ** rng.uniform(-2, 0, n)
    return rng.normal(size=n) * rng.uniform(0, 3), rng.lognormal(0, 0.5, n)


@pytest.mark.parametrize(("means", "scales", "wanted"), DISAGREEMENTS)
def test_table(means: list[float], scales: list[float], wanted: float) -> None:
    assert disagreement(np.array(means), np.array(scales)) == pytest.approx(wanted, abs=0.005)


@pytest.mark.slow
def test_random_mixtures() -> None:
    for seed in range(200):
        means, scales = random_mixture(seed)
        got = disagreement(means, scales)
        assert 0 <= got <= 1
        assert got == pytest.approx(float(mixture.disagreement(means, scales)), abs=0.005), (means, scales)


@pytest.mark.parametrize("seed", range(6))
def test_order_unit_and_offset_do_not_matter(seed: int) -> None:
    means, scales = random_mixture(seed)
    wanted = disagreement(means, scales)
    turned = np.random.default_rng(seed).permutation(len(means))
    assert disagreement(means[turned], scales[turned]) == pytest.approx(wanted, abs=1e-4)
    assert disagreement(7 * means + 3, 7 * scales) == pytest.approx(wanted, abs=2e-3)


def test_the_published_scale_is_the_mixtures_mean_absolute_deviation() -> None:
    means, scales = np.array([0.0, 0.4, 1.0]), np.array([0.1, 0.3, 0.2])
    rng = np.random.default_rng(0)
    member = rng.integers(3, size=2_000_000)
    drawn = rng.laplace(means[member], scales[member])
    got = closest_scale(
        [torch.tensor([mean]) for mean in means],
        [torch.tensor([scale]) for scale in scales],
        torch.tensor([means.mean()]),
    )
    assert float(got) == pytest.approx(np.abs(drawn - means.mean()).mean(), rel=2e-3)
