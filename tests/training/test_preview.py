"""The report of a training run: what the fresh networks make of their validation volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from care_live.training import report
from care_live.training.architecture import build
from care_live.training.calibrate import as_trained
from care_live.training.checkpoint import TrainingHistory
from care_live.training.evaluate import evaluate
from care_live.training.examples import planes_of
from care_live.training.network_recipe import NetworkRecipe
from care_live.training.preview import MOST_VOLUMES, judge, middle_px
from tests.training.conftest import noisy_pair

SMALL = {"filters": 2, "depth": 1}


def members(n: int, **network: object) -> tuple[list[torch.nn.Module], NetworkRecipe]:
    recipe = NetworkRecipe.model_validate(SMALL | network)
    return [build(recipe).eval() for _ in range(n)], recipe


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


@pytest.mark.slow
def test_the_report_shows_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    keep = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *rest, **named: (drawn.append(figure), keep(figure, *rest, **named))
    )
    networks, recipe = members(2, pool_px=(1, 2, 2))
    judged = judge(networks, [noisy_pair(1), noisy_pair(2)], divisor=recipe.divisor)
    history = TrainingHistory(update=[1, 2], loss=[2.0, 1.0], validation=[2.0, 1.5], learning_rate=[1e-3, 1e-3])
    rows = evaluate(judged)
    report.draw_training([history, history], judged, tmp_path / "report.png", rows=rows, title="better than a filter")
    heads, rows = drawn[0].subfigs
    labels = [panel.get_ylabel() for panel in heads.axes]
    assert labels[2:] == ["PSNR (dB), SSIM below", "observed coverage", "mean absolute error (normalised)"]
    assert [panel.get_title() for panel in rows.axes[:2]] == ["raw blobs-1", "restored"]
    assert all(panel.images for panel in rows.axes)
