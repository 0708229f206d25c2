"""The commands from simulated recordings to a calibrated network that restores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from care_live.cli import cli
from care_live.errors import CareLiveError
from care_live.model import file
from tests.make.recipes import RECIPE


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.mark.slow
def test_simulate_train_export_calibrate_evaluate(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    simulated = run("simulate", folder, "--n", 3, "--shape", 8, 64, 64, "--power", 1, "--power", 4)
    assert simulated.exit_code == 0
    assert tifffile.imread(folder / "power-4" / "worm-0002.tif").shape == (8, 64, 64)
    (tmp_path / "tiny.toml").write_text(RECIPE.format(folder=folder.as_posix()))
    trained = run("train", tmp_path / "tiny.toml", "--run", tmp_path / "run")
    assert trained.exit_code == 0
    assert (tmp_path / "run" / "member-1" / "best.pt").exists()
    assert (tmp_path / "run" / "report.png").stat().st_size > 1000
    model = tmp_path / "tiny.onnx"
    assert run("export", tmp_path / "run", model).exit_code == 0
    card = file.read_card(model)
    assert (card.members, len(card.training.data_sha256)) == (2, 3)
    pairs = ("--input", folder / "power-1", "--target", folder / "truth", "--truth-unit", "counts", "--threads", 1)
    calibrated = run("calibrate", model, *pairs)
    assert calibrated.exit_code == 0
    stored = file.read_card(model).calibration
    assert stored is not None
    away = [
        np.abs(np.subtract(observed, stored.levels)).mean()
        for observed in (stored.observed_before, stored.observed_after)
    ]
    assert away[1] < away[0]
    assert (before := card.verdict) is not None, "of the training"
    evaluated = run("evaluate", model, *pairs, "--plot", tmp_path / "scores.png", "--store")
    assert "best Gaussian" in evaluated.output and "verdict stored in" in evaluated.output
    measured = file.read_card(model).verdict
    assert measured is not None and measured.n_images == 3 and measured.network != before.network
    assert (tmp_path / "scores.png").stat().st_size > 1000


def test_exporting_what_was_never_trained_says_so(tmp_path: Path) -> None:
    with pytest.raises(CareLiveError, match="train first"):
        run("export", tmp_path, tmp_path / "net.onnx")
