"""The report on a training."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from care_live.training import report
from care_live.training.checkpoint import TrainingHistory
from care_live.training.evaluation.evaluate import evaluate
from care_live.training.preview import judge
from care_live.trust.measured_noise import NoiseCorrelation
from tests.make.recipes import members
from tests.training.conftest import noisy_pair


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures as they are saved."""
    figures: list[Figure] = []
    keep = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *rest, **named: (figures.append(figure), keep(figure, *rest, **named))
    )
    return figures


@pytest.mark.slow
def test_the_report_shows_every_part(tmp_path: Path, drawn: list[Figure]) -> None:
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


def test_the_report_shows_the_noise_of_neighbours_where_no_verdict_came(tmp_path: Path, drawn: list[Figure]) -> None:
    noise = NoiseCorrelation((0.1, 0.0, 0.0, 0.0), (0.6, 0.3, 0.1, 0.0), (0.2, 0.2, 0.2))
    history = TrainingHistory(update=[1, 2], loss=[2.0, 1.0], validation=[2.0, 1.5], learning_rate=[1e-3, 1e-3])
    report.draw_training([history], [], tmp_path / "report.png", rows=[], title="", noise=noise)
    _, _, scores, alike, _ = drawn[0].axes
    assert not scores.axison
    assert alike.get_ylabel() == "correlation of noise in the dark"
    assert [text.get_text() for text in alike.get_legend().get_texts()] == ["along y", "along x", "along z"]
    assert [len(bars) for bars in alike.containers] == [4, 4, 3]
    assert (tmp_path / "report.png").stat().st_size > 1000
