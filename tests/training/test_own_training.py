"""From two folders and minutes to a network that says whether it is better than a filter."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from care_live.cli import cli
from care_live.errors import TrainingError
from care_live.model import file
from care_live.model.card import ImageScores, NetworkVerdict
from care_live.training.evaluate import estimate
from care_live.training.inference import Applied
from care_live.training.loading import gather
from care_live.training.own_recipe import own_recipe
from care_live.training.patches import plan_for
from care_live.training.recipe import Recipe
from tests.training.conftest import blobs


def write_pair(folder: Path, shape: tuple[int, ...], n: int = 1) -> None:
    for number in range(n):
        clean = blobs(number, shape)
        noise = np.random.default_rng(number).normal(0, 60, shape)
        for name, image in (("low", 100 + clean + noise), ("high", 100 + 20 * clean)):
            (folder / name).mkdir(exist_ok=True)
            tifffile.imwrite(
                folder / name / f"v{number}.tif", np.clip(image, 0, 65535).astype(np.uint16), photometric="minisblack"
            )


def own(folder: Path, minutes: float = 1.0, axes: str | None = None) -> Recipe:
    return own_recipe([folder / "low"], folder / "high", minutes=minutes, axes=axes)


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


@pytest.mark.parametrize(
    ("shape", "axes", "network"), [((6, 48, 48), None, "ZYX"), ((48, 48), None, "YX"), ((6, 48, 48), "TYX", "YX")]
)
def test_the_files_say_which_network_they_need(
    tmp_path: Path, shape: tuple[int, ...], axes: str | None, network: str
) -> None:
    write_pair(tmp_path, shape)
    recipe = own(tmp_path, axes=axes)
    assert (recipe.network.axes, recipe.fit.minutes) == (network, 1.0)
    assert (recipe.network.probabilistic, recipe.fit.loss) == (True, "gaussian_laplace")
    data = gather(recipe)
    assert plan_for(recipe, data.training).patch_px[-2:] == ((24, 48) if axes is None else (48, 48))


def write_exposures(folder: Path, shape: tuple[int, ...]) -> None:
    clean = blobs(0, shape)
    for seed, name in enumerate(("first", "second")):
        (folder / name).mkdir()
        noisy = 100 + clean + np.random.default_rng(seed).normal(0, 150, shape)
        tifffile.imwrite(folder / name / "v.tif", noisy.clip(0).astype(np.uint16), photometric="minisblack")


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


def test_an_exposure_is_the_target_of_another_in_one_range(tmp_path: Path) -> None:
    write_exposures(tmp_path, (4, 96, 64))
    recipe = own_recipe([tmp_path / "first"], second=tmp_path / "second", minutes=1.0)
    assert (recipe.fit.loss, recipe.network.probabilistic) == ("mse", False)
    data = gather(recipe)
    patch = data.training[0].cut((0, 0, 0), (4, 64, 64), None)
    turned = [data.training[0].cut((0, 0, 0), (4, 64, 64), np.random.default_rng(seed)) for seed in range(9)]
    assert data.second_noise == 0.5
    assert np.corrcoef(patch.input.ravel(), patch.target.ravel())[0, 1] > 0.2
    assert len({bool(one.input.ravel()[0] > one.target.ravel()[0]) for one in turned}) == 2  # each way round
    with pytest.raises(ValueError, match="others learn the noise"):
        Recipe.model_validate(recipe.model_dump() | {"fit": {"loss": "mae"}})


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


def test_axes_that_are_not_known_are_asked_for(tmp_path: Path) -> None:
    for name in ("low", "high"):
        (tmp_path / name).mkdir()
        image = np.zeros((2, 3, 2, 8, 8), np.uint16)
        tifffile.imwrite(tmp_path / name / "a.tif", image, imagej=True, metadata={"axes": "TZCYX"})
    with pytest.raises(TrainingError, match="axes TZCYX, wanted a subset of TCZYX"):
        own(tmp_path)


def test_one_volume_alone_is_split_by_rows(tmp_path: Path) -> None:
    write_pair(tmp_path, (4, 200, 40))
    data = gather(own(tmp_path))
    assert [example.shape_px for example in (*data.training, *data.validation)] == [(4, 150, 40), (4, 50, 40)]
    z, y, x = data.validation[0].foreground.T
    bright = tifffile.imread(tmp_path / "high" / "v0.tif")[z, 150 + y, x]
    assert bright.min() > 0.3 * bright.max()  # foreground moves with its rows
