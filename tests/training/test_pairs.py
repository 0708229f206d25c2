"""Training data from disk: matched by name, checked, split by volume; what is wrong is named."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from pydantic import ValidationError

from care_live.errors import TrainingError
from care_live.images import PlaneIndex
from care_live.recorded import open_recording
from care_live.training import patches, volumes
from care_live.training.data_recipe import IsotropicData
from care_live.training.examples import Data
from care_live.training.image_parts import plane_in, rows_in
from care_live.training.lateral_slices import axial_blur
from care_live.training.loading import gather
from care_live.training.own_recipe import own_recipe
from care_live.training.patches import PatchPlan
from care_live.training.recipe import Recipe
from care_live.trust import registration
from tests.conftest import need_data
from tests.training.conftest import blobs, noisy_pair, small_recipe


def write_pairs(folder: Path, n: int = 3, shape: tuple[int, ...] = (6, 48, 48)) -> None:
    for number in range(n):
        clean = blobs(number, shape)
        noise = np.random.default_rng(number).normal(0, 60, shape)
        for name, image in (("low", 100 + clean + noise), ("high", 100 + 20 * clean)):
            path = folder / name / f"v{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, np.clip(image, 0, 65535).astype(np.uint16))


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


def test_a_data_set_of_micro_manager_is_read_by_volume() -> None:
    folder = need_data("ndtiff_micromanager") / "v3/ndtiff3.2_multichannel"
    axes, sizes = volumes.look(folder, "*.tif*", None)
    found = volumes.find(folder, "*.tif*", axes)
    assert (sizes["T"], sizes["C"], sizes["Z"]) == (8, 2, 16)
    assert len(found) == 8
    stored = found["t3-p0"].image
    assert stored.shape == (2, 16, sizes["Y"], sizes["X"])
    with contextlib.closing(open_recording(folder)) as recording:
        assert np.array_equal(stored[1, 5], recording.read_plane(PlaneIndex(3, 0, 1, 5)))


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


def test_zarr_is_read_as_it_is_needed(tmp_path: Path) -> None:
    for name, gain in (("low", 1), ("high", 20)):
        stack = np.stack([100 + gain * blobs(t, (6, 48, 48)) for t in range(3)])[:, None].astype(np.uint16)
        zarr.create_array(tmp_path / f"{name}.zarr", data=stack, chunks=(1, 1, 6, 16, 16))
    recipe = small_recipe(
        tmp_path, data={"inputs": [str(tmp_path / "low.zarr")], "target": str(tmp_path / "high.zarr")}
    )
    data = gather(recipe)
    assert len(data.training) == 2
    patch = data.training[1].cut((0, 8, 8), (6, 16, 16), None)
    assert patch.input.shape == (1, 6, 16, 16)
    assert patch.input == pytest.approx(patch.target, abs=0.02)  # another gain is another span, and nothing else


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


def slices_of(tmp_path: Path, image: np.ndarray) -> Data:
    (tmp_path / "planes").mkdir()
    tifffile.imwrite(tmp_path / "planes" / "one.tif", image)
    tree = {"kind": "isotropic", "volumes": str(tmp_path / "planes"), "factor": 2.0}
    network = {"axes": "YX", "pool_px": [2, 2]}
    return gather(Recipe.model_validate({"name": "i", "network": network, "data": tree, "fit": {"patch_px": [8, 8]}}))


def test_a_slice_is_judged_or_learnt_from_and_one_with_nothing_on_it_neither(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 1000, (10, 32, 48)).astype(np.uint16)
    image[3] = 5
    data = slices_of(tmp_path, image)
    assert [example.name for example in data.validation] == ["one z=9"]
    assert [example.name for example in data.training] == [f"one z={z}" for z in range(9) if z != 3]


def test_a_slice_is_turned_and_degraded_anew_for_every_patch(tmp_path: Path) -> None:
    x = np.arange(40)[None, None]
    bars = np.broadcast_to(100 + 50 * ((x // 5) % 2), (5, 40, 40))  # upright: blur along y leaves them alone
    example = slices_of(tmp_path, bars.astype(np.uint16)).training[0]
    straight = example.cut((8, 8), (16, 16), None)
    wanted = np.asarray(bars[0, 8:24, 8:24] > 100, np.float32)
    assert straight.target[0] == pytest.approx(wanted, abs=0.01)
    rng = np.random.default_rng(0)
    lying: list[float] = []
    standing: list[float] = []
    for _ in range(20):
        seen, target = example.cut((8, 8), (16, 16), rng)
        slope = [np.abs(np.diff(target[0], axis=axis)).mean() for axis in (0, 1)]
        (lying if slope[0] > 2 * slope[1] else standing).append(np.abs(np.diff(seen[0], axis=0)).mean() / slope[0])
    assert lying and standing  # bars that lie are blurred into each other
    assert max(lying) < 0.8


def test_a_measured_psf_that_is_off_centre_shifts_nothing(tmp_path: Path) -> None:
    z, y, x = (np.exp(-((np.arange(21) - middle) ** 2) / 8) for middle in (12.3, 9.0, 10.0))
    tifffile.imwrite(tmp_path / "psf.tif", (60_000 * z[:, None, None] * y[:, None] * x).astype(np.uint16))
    blur = axial_blur(IsotropicData(volumes=tmp_path, psf=tmp_path / "psf.tif"))
    rows = np.arange(len(blur)) - len(blur) // 2
    assert blur.sum() == pytest.approx(1.0, abs=1e-5)
    assert (blur.sum(axis=1) * rows).sum() == pytest.approx(0.0, abs=0.1)


def test_upsampling_leaves_planes_out(tmp_path: Path) -> None:
    write_pairs(tmp_path, shape=(7, 32, 32))
    tree = {"kind": "upsample", "volumes": str(tmp_path / "high"), "factor": 3.0}
    recipe = small_recipe(tmp_path).model_dump() | {"data": tree}
    seen, wanted = gather(Recipe.model_validate(recipe)).training[0].cut((0, 0, 0), (7, 32, 32), None)
    alike = [np.corrcoef(seen[0, z].ravel(), wanted[0, z].ravel())[0, 1] > 0.9999 for z in range(7)]
    assert [z for z in range(7) if alike[z]] == [0, 6]  # 2 of 7 planes are left: the first and the last


@pytest.mark.parametrize("shift", [(0, 0, 0), (0, 3, -2), (1, 0, 4)])
def test_registration_finds_the_shift(shift: tuple[int, ...]) -> None:
    clean = blobs(4, (8, 64, 64))
    noisy = clean + np.random.default_rng(0).normal(0, 60, clean.shape).astype(np.float32)
    found = registration.measure(np.roll(noisy, shift, axis=(0, 1, 2)), clean)
    assert found.is_certain
    assert found.shift_px == pytest.approx(shift, abs=0.3)


def test_patches_are_drawn_around_bright_voxels() -> None:
    volume = noisy_pair(2, (6, 64, 64))
    bright = {tuple(voxel) for voxel in volume.foreground.tolist()}
    plan, rng = PatchPlan((4, 16, 16), foreground=1.0), np.random.default_rng(0)
    for _ in range(50):
        corner = patches.draw_corner(volume, plan, rng)
        inside = np.all([np.array(voxel) >= corner for voxel in bright], axis=1)
        inside &= np.all([np.array(voxel) < np.add(corner, (4, 16, 16)) for voxel in bright], axis=1)
        assert inside.any()


def test_augmentation_moves_input_and_target_alike() -> None:
    image = np.arange(4 * 8 * 8, dtype=np.float32).reshape(1, 4, 8, 8)
    seen = set()
    for seed in range(40):
        plan = PatchPlan((4, 8, 8), 1.0)
        turned = patches.augment(patches.Patch(image, 2 * image), plan, np.random.default_rng(seed))
        assert (turned.target == 2 * turned.input).all()
        seen.add(turned.input.tobytes())
    assert len(seen) == 16  # 8 in the plane, twice along z


@pytest.mark.parametrize("of", [lambda image: rows_in(image, slice(8, 40)), lambda image: plane_in(image, 2)])
def test_parts_of_an_image_on_disk_are_those_in_memory_and_stay_there(tmp_path: Path, of: Any) -> None:
    stack = blobs(1, (4, 48, 32))[None, None].astype(np.uint16)
    stored = zarr.create_array(tmp_path / "image.zarr", data=stack, chunks=(1, 1, 2, 16, 16))
    here, there = (of(volumes.OnDisk(array, 0, True)) for array in (stack, stored))
    assert isinstance(here, np.ndarray)
    assert not isinstance(there, np.ndarray)
    window = (slice(None),) * (here.ndim - 2) + (slice(3, 11), slice(1, None, 3))
    for at in (window, slice(None), (slice(0, 1),)):
        assert np.array_equal(here[at], there[at])
    assert (there.shape, there.ndim) == (here.shape, here.ndim)
