"""From two folders and minutes to a network that says whether it is better than a filter."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from care_live.cli import cli
from care_live.errors import TrainingError
from care_live.model import file
from care_live.model.card import ImageScores, NetworkVerdict
from care_live.training.evaluate import estimate
from care_live.training.inference import Applied
from tests.make.image_files import write_exposures, write_pair


@pytest.mark.slow
def test_two_folders_and_minutes_are_all_that_is_needed(tmp_path: Path) -> None:
    write_pair(tmp_path, (4, 96, 64))
    command = ["train", "--input", tmp_path / "low", "--target", tmp_path / "high", "--minutes", 0.03]
    done = CliRunner().invoke(
        cli, [str(word) for word in (*command, "--run", tmp_path / "run")], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "updates of 2 patches of 4 x 64 x 64 px on the" in done.output  # before it begins
    assert "s left" in done.output  # while it runs
    assert "verdict: " in done.output
    assert (tmp_path / "run" / "member-0" / "preview.png").stat().st_size > 100
    card = file.read_card(tmp_path / "run" / "own.onnx")
    assert card.training.target_unit == "counts"
    stored = card.verdict
    assert stored is not None
    assert stored.is_worse  # seconds of training are no match for a filter, and it says so
    assert "use more time" in stored.sentence()
    again = CliRunner().invoke(
        cli, [str(word) for word in (*command, "--run", tmp_path / "run")], catch_exceptions=False
    )
    assert again.exit_code == 0  # goes on with what was settled, and is over at once
    assert "update 1 " not in again.output
    command[-1] = 0.5
    with pytest.raises(TrainingError, match=r"holds a run of 0.03 minutes, not of 0.5 minutes: name another folder"):
        CliRunner().invoke(cli, [str(word) for word in (*command, "--run", tmp_path / "run")], catch_exceptions=False)


def test_a_network_that_a_filter_beats_is_said_to_be_where_it_restores(tmp_path: Path) -> None:
    write_pair(tmp_path, (4, 96, 64))
    one, less = ImageScores(psnr_db=30.0, ssim=0.9), ImageScores(psnr_db=29.0, ssim=0.8)
    verdict = NetworkVerdict(n_images=1, raw=less, gaussian=one, classical=one, network=less)
    shutil.copy(file.shipped(), tmp_path / "net.onnx")
    file.write_card(
        tmp_path / "net.onnx", file.read_card(tmp_path / "net.onnx").model_copy(update={"verdict": verdict})
    )
    restored = CliRunner().invoke(
        cli,
        ["restore", str(tmp_path / "low" / "v0.tif"), str(tmp_path / "out.tif"), "--axes", "ZYX", "--model",
         str(tmp_path / "net.onnx")],
        catch_exceptions=False,
    )  # fmt: skip
    assert "worm3d is worse than a filter" in restored.output


@pytest.mark.slow
def test_two_exposures_are_all_that_is_needed(tmp_path: Path) -> None:
    write_exposures(tmp_path, (4, 96, 64))
    command = ["train", "--input", tmp_path / "first", "--second", tmp_path / "second", "--minutes", 0.03]
    done = CliRunner().invoke(
        cli, [str(word) for word in (*command, "--run", tmp_path / "run")], catch_exceptions=False
    )
    assert done.exit_code == 0
    card = file.read_card(tmp_path / "run" / "own.onnx")
    assert card.heads == ("mean",)
    assert card.verdict is not None
    assert (card.verdict.measured_with, card.verdict.raw.ssim) == ("second exposure", None)


def test_psnr_is_estimated_from_two_exposures() -> None:
    truth = np.random.default_rng(5).normal(0.5, 0.3, (1, 6, 64, 64)).astype(np.float32)
    noises = [np.random.default_rng(seed).normal(0, 0.2, truth.shape).astype(np.float32) for seed in range(3)]
    raw, other, ours = truth + noises[0], truth + noises[1], truth + 0.3 * noises[2]
    row = estimate([Applied("validation", "v", raw, ours, None, None, other)])
    width = np.subtract(*np.percentile(other, (99.9, 0.1)))
    left = [sigma * 0.3 / np.hypot(sigma, 0.3) for sigma in (0.2, 0.06)]  # the affine fit shrinks what is noisy
    wanted = [-20 * np.log10(sigma / width) for sigma in left]
    assert (row.raw.psnr_db, row.ours.psnr_db) == pytest.approx(wanted, abs=1.5)  # an estimate, of few voxels
    assert np.isnan(row.ours.ssim)
