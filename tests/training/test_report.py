"""The report on a training."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from care_live.training import report
from care_live.training.checkpoint import TrainingHistory
from care_live.training.evaluate import evaluate
from care_live.training.preview import judge
from tests.make.recipes import members
from tests.training.conftest import noisy_pair


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
