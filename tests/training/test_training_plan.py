"""Two folders, or two exposures, are all that training needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

import care_live
from care_live.cli import cli
from care_live.errors import TrainingError
from care_live.model import file
from care_live.training import train
from care_live.training.training_plan import own_recipe, reading_past
from tests.make.image_files import write_exposures, write_movie, write_pair


@pytest.fixture
def steady_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update takes 0.3 s by the clock that a budget is spent by, on a machine that is busy, too: 1.8 s buy 5."""
    monkeypatch.setattr(train, "time_update", lambda *_, **__: 0.3)


def ran(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.slow
@pytest.mark.usefixtures("steady_pace")
def test_two_folders_and_minutes_are_all_that_is_needed(tmp_path: Path) -> None:
    write_pair(tmp_path, (4, 96, 64))
    command = ["train", "--input", tmp_path / "low", "--target", tmp_path / "high", "--minutes", 0.03]
    done = ran(*command, "--run", tmp_path / "run")
    assert done.exit_code == 0
    assert "5 updates of 2 patches of 4 x 64 x 64 px on the" in done.output  # before it begins
    assert "s left" in done.output  # while it runs
    assert "verdict: " in done.output
    assert (tmp_path / "run" / "member-0" / "preview.png").stat().st_size > 100
    card = file.read_card(tmp_path / "run" / "own.onnx")
    assert card.training.target_unit == "counts"
    stored = card.verdict
    assert stored is not None
    assert stored.is_worse  # seconds of training are no match for a filter, and it says so
    assert "use more time" in stored.sentence()
    again = ran(*command, "--run", tmp_path / "run")
    assert again.exit_code == 0  # goes on with what was settled, and is over at once
    assert "update 1 " not in again.output
    command[-1] = 0.5
    with pytest.raises(TrainingError, match=r"holds a run of 0.03 minutes, not of 0.5 minutes: name another folder"):
        ran(*command, "--run", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.usefixtures("steady_pace")
def test_two_exposures_are_all_that_is_needed(tmp_path: Path) -> None:
    write_exposures(tmp_path, (4, 96, 64))
    command = ["train", "--input", tmp_path / "first", "--second", tmp_path / "second", "--minutes", 0.03]
    done = ran(*command, "--run", tmp_path / "run")
    assert done.exit_code == 0
    card = file.read_card(tmp_path / "run" / "own.onnx")
    assert card.heads == ("mean",)
    assert card.verdict is not None
    assert (card.verdict.measured_with, card.verdict.raw.ssim) == ("second exposure", None)
    assert "no interval for each voxel" in done.output


@pytest.mark.slow
@pytest.mark.usefixtures("steady_pace")
def test_a_movie_is_restored_with_the_frames_before_each_one(tmp_path: Path) -> None:
    write_movie(tmp_path / "noisy" / "a.tif", (12, 96, 96))
    command = ["train", "--input", tmp_path / "noisy", "--noisy-only", "--past", 2, "--minutes", 0.03]
    done = ran(*command, "--run", tmp_path / "run")
    assert done.exit_code == 0
    assert "reads 2 earlier time points" in done.output
    network = tmp_path / "run" / "own.onnx"
    card = file.read_card(network)
    assert (card.past, card.channels_in, card.channels_out, card.output) == (2, ("any",), ("any",), "counts")
    restored = ran(
        "restore",
        tmp_path / "noisy" / "a.tif",
        tmp_path / "out.tif",
        "--model",
        network,
        "--axes",
        "TYX",
        "--provider",
        "cpu",
    )
    assert restored.exit_code == 0
    result = tifffile.imread(tmp_path / "out.tif")
    direct = care_live.open_network(network, provider="cpu").restore(
        tifffile.imread(tmp_path / "noisy" / "a.tif"), axes="TYX", progress=False
    )
    assert np.abs(result.astype(np.float32) - direct.mean).max() <= 1.0
    with pytest.raises(TrainingError, match="no image has an earlier time point"):
        ran(*command, "--axes", "ZYX", "--run", tmp_path / "other")


def test_the_past_leaves_the_number_of_filters_to_the_budget(tmp_path: Path) -> None:
    write_movie(tmp_path / "a.tif", (4, 64, 64))
    recipe = reading_past(own_recipe([tmp_path], minutes=1.0), 2)
    assert recipe.network.n_inputs == 3
    assert "filters" not in recipe.network.model_fields_set
