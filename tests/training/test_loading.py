"""Images are loaded for what a recipe asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.errors import TrainingError
from care_live.training.data.loading import gather
from care_live.training.data.patches import plan_for
from care_live.training.recipe import Recipe
from care_live.training.training_plan import own_recipe
from tests.make.image_files import write_exposures, write_pair


def own(folder: Path, minutes: float = 1.0, axes: str | None = None) -> Recipe:
    return own_recipe([folder / "low"], folder / "high", minutes=minutes, axes=axes)


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
