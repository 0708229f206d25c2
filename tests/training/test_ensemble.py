"""Disagreement against quadrature with break points, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from care_live.training.ensemble import closest_scale, mixture_disagreement

TABLE = [
    ([0.0] * 5, [1.0] * 5, 0.0),
    ([0.0, 0.0], [1.0, 0.3], 0.2005),
    ([0.0, 0.0], [1.0, 0.1], 0.4971),
    ([0.0, 0.0], [1.0, 0.05], 0.6524),
    ([0.0, 0.0], [1.0, 0.02], 0.7998),
    ([0.0, 0.2, 0.3, 0.5, 1.0], [0.05, 0.06, 0.05, 0.4, 0.05], 0.6307),
    ([0.0, 100.0], [1.0, 1.0], 1.0),
]


def exact(means: np.ndarray, scales: np.ndarray) -> float:
    """Integrate −p̄ log p̄ between break points around every mean at every scale."""
    steps = np.array([0, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 25, 40])
    steps = np.concatenate([-steps[:0:-1], steps])
    edges = np.unique(means[:, None, None] + scales[:, None] * steps)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = np.diff(edges)[:, None] / 2
    places = (edges[:-1, None] + half) + half * nodes
    density = np.mean(np.exp(-np.abs(places[..., None] - means) / scales) / (2 * scales), axis=-1)
    entropy = -np.sum(half * weights * density * np.log(np.maximum(density, 1e-300)))
    return float((entropy - np.mean(1 + np.log(2 * scales))) / np.log(len(means)))


def disagreement(means: np.ndarray, scales: np.ndarray) -> float:
    as_tensors = ([torch.tensor([float(value)]) for value in values] for values in (means, scales))
    return float(mixture_disagreement(*as_tensors))


def random_mixture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 8))
    if seed % 2:
        return rng.normal(size=n) * 10 ** rng.uniform(-2, 1), 10 ** rng.uniform(-2, 0, n)
    return rng.normal(size=n) * rng.uniform(0, 3), rng.lognormal(0, 0.5, n)


@pytest.mark.parametrize(("means", "scales", "wanted"), TABLE)
def test_table(means: list[float], scales: list[float], wanted: float) -> None:
    assert exact(np.array(means), np.array(scales)) == pytest.approx(wanted, abs=1e-4)
    assert disagreement(np.array(means), np.array(scales)) == pytest.approx(wanted, abs=0.005)


@pytest.mark.slow
def test_random_mixtures() -> None:
    for seed in range(200):
        means, scales = random_mixture(seed)
        got = disagreement(means, scales)
        assert 0 <= got <= 1
        assert got == pytest.approx(exact(means, scales), abs=0.005), (means, scales)


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
