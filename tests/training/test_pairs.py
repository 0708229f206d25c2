"""Training data from disk: matched by name, checked, split by volume; what is wrong is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from pydantic import ValidationError

from care_live.errors import TrainingError
from care_live.training.data.examples import PairedVolume, paired
from care_live.training.data.intensity import line_of
from care_live.training.data.loading import gather
from care_live.training.data.pairs import MOST_EXPOSURES, expose, may_be_exposed_again, with_fresh_noise
from care_live.training.recipe import Recipe
from care_live.training.training_plan import own_recipe
from care_live.trust.camera import CameraModel
from tests.make.image_files import write_pairs
from tests.training.conftest import blobs, small_recipe

CAMERA = CameraModel(gain=2.0, offset=100.0, read_noise=1.5, origin="test")
SHAPE = (4, 96, 96)


def test_matched_pairs_are_split_by_volume(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    data = gather(small_recipe(tmp_path))
    assert [example.name for example in data.training] == ["v0", "v1"]
    assert [example.name for example in data.validation] == ["v2"]
    assert len(set(data.fingerprints)) == 3


def test_two_conditions_share_one_target(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    recipe = small_recipe(tmp_path, data={"inputs": [str(tmp_path / "low"), str(tmp_path / "high")]})
    example = gather(recipe).training[0]
    seen = [example.cut((0, 0, 0), (6, 48, 48), np.random.default_rng(seed)).input.std() for seed in range(8)]
    assert len({round(float(value), 3) for value in seen}) > 1


def test_each_of_several_targets_has_an_input_of_its_own(tmp_path: Path) -> None:
    """Two days, whose files have the same names."""
    for day in ("monday", "tuesday"):
        write_pairs(tmp_path / day, n=2)
    days = [tmp_path / "monday", tmp_path / "tuesday"]
    several = {"inputs": [str(day / "low") for day in days], "target": [str(day / "high") for day in days]}
    data = gather(small_recipe(tmp_path, data=several))
    assert [example.name for example in data.training] == [
        f"{days[0]}/high/v0",
        f"{days[0]}/high/v1",
        f"{days[1]}/high/v0",
    ]
    assert [example.name for example in data.validation] == [f"{days[1]}/high/v1"]
    with pytest.raises(ValidationError, match="2 targets came with 1 inputs: give one target for all inputs, or one"):
        small_recipe(tmp_path, data={"target": several["target"]})


def test_folders_in_a_folder_are_looked_into(tmp_path: Path) -> None:
    for number, name in enumerate(("low", "high")):
        for day in ("monday", "tuesday"):
            (tmp_path / name / day).mkdir(parents=True)
            image = 100 + (1 + 20 * number) * blobs(len(day), (6, 48, 48))
            tifffile.imwrite(tmp_path / name / day / "v.tif", image.astype(np.uint16))
    data = gather(small_recipe(tmp_path))
    assert [example.name for example in (*data.training, *data.validation)] == ["monday/v", "tuesday/v"]


def test_noisy_images_come_from_several_folders(tmp_path: Path) -> None:
    folders = [tmp_path / day / "low" for day in ("monday", "tuesday")]
    for folder in folders:
        write_pairs(folder.parent, n=2)
    recipe = own_recipe(folders, minutes=1.0)
    data = gather(recipe)
    assert len(data.training) == 3
    assert data.validation[0].name == f"{folders[1]}/v1"


def change(folder: Path, name: str, how: Any) -> None:
    path = folder / name
    image = how(tifffile.imread(path))
    tifffile.imwrite(path, image)


def rolled(image: np.ndarray) -> np.ndarray:
    return np.roll(image, 5, axis=1)


def other_place(image: np.ndarray) -> np.ndarray:
    return (100 + blobs(77, image.shape)).astype(np.uint16)


def with_nan(image: np.ndarray) -> np.ndarray:
    return np.where(image == image.max(), np.nan, image).astype(np.float32)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (rolled, r"v1\.tif is shifted by"),
        (other_place, r"v1\.tif (and .* do not look like the same place|is shifted by)"),
        (with_nan, r"v1\.tif has values that are not finite"),
        (lambda image: np.full_like(image, 7), r"v1\.tif is 7 everywhere"),
        (lambda image: image[:, :40], r"v1\.tif is \(6, 40, 48\)"),
        (lambda image: image[0], r"v1\.tif has 2 axes"),
    ],
    ids=["shifted", "other place", "NaN", "constant", "other shape", "other axes"],
)
def test_bad_input_names_the_file(tmp_path: Path, how: Any, message: str) -> None:
    write_pairs(tmp_path)
    change(tmp_path, "low/v1.tif", how)
    with pytest.raises(TrainingError, match=message):
        gather(small_recipe(tmp_path))


def test_unpaired_truncated_and_missing(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    (tmp_path / "high" / "v2.tif").rename(tmp_path / "v2.tif")
    with pytest.raises(TrainingError, match="no partner for v2"):
        gather(small_recipe(tmp_path))
    whole = (tmp_path / "v2.tif").read_bytes()
    (tmp_path / "high" / "v2.tif").write_bytes(whole[:7])
    with pytest.raises(TrainingError, match=r"v2\.tif is no readable TIFF"):
        gather(small_recipe(tmp_path))
    with pytest.raises(TrainingError, match="does not exist"):
        gather(small_recipe(tmp_path, data={"target": str(tmp_path / "nowhere")}))
    with pytest.raises(TrainingError, match="no file that matches"):
        gather(small_recipe(tmp_path, data={"pattern": "*.png"}))


def test_one_channel_too_many(tmp_path: Path) -> None:
    write_pairs(tmp_path, shape=(2, 48, 48))
    with pytest.raises(TrainingError, match=r"v0\.tif has 2 channels, the network takes 1"):
        gather(small_recipe(tmp_path, data={"axes": "CYX"}))


def test_semi_synthetic_data(tmp_path: Path) -> None:
    write_pairs(tmp_path, shape=(6, 64, 64))
    sharp = {"kind": "isotropic", "volumes": str(tmp_path / "high"), "factor": 10.2, "gauss_sigma_counts": 2.0}
    recipe = Recipe.model_validate(
        {
            "name": "iso",
            "network": {"axes": "YX", "pool_px": [2, 2], "kernel_px": 5},
            "data": sharp,
            "fit": {"patch_px": [32, 32]},
        }
    )
    data = gather(recipe)
    assert not data.turns
    seen, wanted = data.training[0].cut((0, 0), (64, 64), None)
    rough = [np.abs(np.diff(image[0], axis=axis)).mean() for image in (seen, wanted) for axis in (0, 1)]
    assert rough[0] < 0.6 * rough[2]  # blurred along y, which plays the part of z


def test_upsampling_leaves_planes_out(tmp_path: Path) -> None:
    write_pairs(tmp_path, shape=(7, 32, 32))
    tree = {"kind": "upsample", "volumes": str(tmp_path / "high"), "factor": 3.0}
    recipe = small_recipe(tmp_path).model_dump() | {"data": tree}
    seen, wanted = gather(Recipe.model_validate(recipe)).training[0].cut((0, 0, 0), (7, 32, 32), None)
    alike = [np.corrcoef(seen[0, z].ravel(), wanted[0, z].ravel())[0, 1] > 0.9999 for z in range(7)]
    assert [z for z in range(7) if alike[z]] == [0, 6]  # 2 of 7 planes are left: the first and the last


def pair(*, light: float = 60.0, seed: int = 0) -> PairedVolume:
    electrons = blobs(seed, SHAPE)[None] / 100  # up to 10, a few of background
    rng = np.random.default_rng(seed)
    dim, bright = (
        np.rint(expose((CAMERA.offset + CAMERA.gain * power * electrons).astype(np.float32), CAMERA, rng))
        for power in (1.0, light)
    )
    images = dim.astype(np.uint16), bright.astype(np.uint16)
    return paired("blobs", [images[0]], images[1], lines=[line_of(images[1], images[0])])


def test_further_exposures_have_the_noise_of_the_first_and_share_none_of_it() -> None:
    volume = pair()
    (fresh,) = with_fresh_noise([volume], seed=1)
    assert len(fresh.fresh) == 1
    assert len(fresh.fresh[0]) == MOST_EXPOSURES
    expected = (volume.target.astype(float) - CAMERA.offset) / 60 + CAMERA.offset
    noises = [image.astype(float) - expected for image in (volume.inputs[0], *fresh.fresh[0])]
    first, *others = [noise[expected > np.median(expected)] for noise in noises]
    assert all(np.var(noise) == pytest.approx(np.var(first), rel=0.15) for noise in others)
    assert all(abs(np.corrcoef(first, noise)[0, 1]) < 0.1 for noise in others)
    assert all(image.dtype == volume.inputs[0].dtype for image in fresh.fresh[0])


def test_patches_to_learn_from_show_all_exposures_and_validation_the_recorded_one() -> None:
    (volume,) = with_fresh_noise([pair()], seed=1)
    recorded, rng = volume.cut((0, 0, 0), SHAPE, None).input, np.random.default_rng(0)
    shown = [volume.cut((0, 0, 0), SHAPE, rng).input for _ in range(40)]
    alike = [np.corrcoef(image.ravel(), recorded.ravel())[0, 1] for image in shown]
    assert 0 < sum(one > 0.999 for one in alike) < 20


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_gives_the_same_noise(seed: int) -> None:
    one, other = (with_fresh_noise([pair()], seed=seed)[0].fresh[0][0] for _ in range(2))
    assert np.array_equal(one, other)


def test_a_pair_that_moved_or_a_target_as_dim_gets_none() -> None:
    volume = pair()
    dim, line = volume.inputs[0], volume.lines[0]
    assert line is not None
    assert may_be_exposed_again(volume.target, dim, line, CAMERA)
    assert not may_be_exposed_again(np.roll(volume.target, 6, axis=-1), dim, line, CAMERA)
    dim_target = pair(light=2.0)
    assert not may_be_exposed_again(dim_target.target, dim, dim_target.lines[0], CAMERA)  # its noise would be learnt
    (unchanged,) = with_fresh_noise([replace(volume, target=np.roll(volume.target, 6, axis=-1))], seed=1)
    assert not any(unchanged.fresh)


def test_large_recordings_get_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("care_live.training.data.pairs.MOST_VOXELS", np.prod(SHAPE) - 1)
    volume = pair()
    assert with_fresh_noise([volume], seed=1) == [volume]
