"""The report of a training run: what the fresh networks make of their validation volumes."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.training.data.examples import planes_of
from care_live.training.evaluation.calibrate import as_trained
from care_live.training.preview import MOST_VOLUMES, judge, middle_px
from tests.make.recipes import members
from tests.training.conftest import noisy_pair


@pytest.mark.parametrize(
    ("shape", "divisor", "wanted"),
    [
        ((40, 300, 301), (1, 4, 4), (16, 192, 192)),
        ((7, 50), (4, 4), (4, 48)),
        ((32, 64, 64), (32, 32, 32), (32, 64, 64)),
    ],
)
def test_the_middle_fits_the_network(shape: tuple[int, ...], divisor: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    assert middle_px(shape, divisor) == wanted


def test_an_ensemble_judges_volumes_and_says_how_sure_it_is() -> None:
    networks, recipe = members(2, pool_px=(1, 2, 2))
    volume = noisy_pair(1, (5, 34, 33))
    (judged,) = judge(networks, [volume], divisor=recipe.divisor)
    assert judged.mean.shape == judged.truth.shape == judged.raw.shape == (1, 5, 34, 32)
    assert judged.disagreement is not None
    assert judged.laplace_scale is not None
    patch = volume.cut((0, 0, 0), (5, 34, 32), None)
    assert np.array_equal(judged.raw, patch.input)
    assert len(as_trained([judged])) == 6


def test_planes_are_judged_by_a_flat_network_without_a_scale() -> None:
    networks, recipe = members(1, axes="YX", pool_px=(2, 2), probabilistic=False)
    planes = [plane for seed in range(4) for plane in planes_of(noisy_pair(seed))]
    judged = judge(networks, planes, divisor=recipe.divisor)
    assert len(judged) <= MOST_VOLUMES
    assert judged[0].mean.shape == (1, 1, 32, 32)
    assert as_trained(judged) == ()
