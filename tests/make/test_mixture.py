"""What other tests compare ensembles with is right itself: closed forms, drawn numbers and laws."""

from __future__ import annotations

import numpy as np
import pytest

from tests.make import mixture
from tests.make.mixture import DISAGREEMENTS


def test_mixture_moments_of_drawn_numbers() -> None:
    rng = np.random.default_rng(0)
    means, scales = np.array([0.0, 1.0, 3.0]), np.array([0.5, 0.1, 1.0])
    member = rng.integers(3, size=2_000_000)
    drawn = rng.laplace(means[member], scales[member])
    assert mixture.mean_of(means) == pytest.approx(drawn.mean(), abs=5e-3)
    assert mixture.scale_of(means, scales) == pytest.approx(np.abs(drawn - drawn.mean()).mean(), rel=5e-3)


@pytest.mark.parametrize(("means", "scales", "wanted"), DISAGREEMENTS)
def test_disagreement(means: list[float], scales: list[float], wanted: float) -> None:
    assert mixture.disagreement(np.array(means), np.array(scales)) == pytest.approx(wanted, abs=2e-4)


def test_disagreement_is_one_value_a_voxel() -> None:
    rng = np.random.default_rng(1)
    means, scales = rng.normal(size=(3, 4, 5)), rng.uniform(0.1, 1, (3, 4, 5))
    whole = mixture.disagreement(means, scales)
    assert whole.shape == (4, 5)
    assert whole[2, 3] == pytest.approx(mixture.disagreement(means[:, 2, 3], scales[:, 2, 3]))
    assert mixture.disagreement(10 * means - 4, 10 * scales) == pytest.approx(whole, abs=1e-9)
