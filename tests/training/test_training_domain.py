"""What a card says of the data of its network: voxels, exposure, light and structures of the training's inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from msgspec.structs import replace

from care_live.acquisition_config import AcquisitionConfig
from care_live.cli import cli
from care_live.config import VirtualConfig
from care_live.errors import ConfigError
from care_live.model import file
from care_live.model.card import TrainingDomain
from care_live.simulate import pair
from care_live.simulate.scene import Exposure, Scene
from care_live.training import recipe as recipes
from care_live.training.data import training_domain
from care_live.training.data.examples import Data, paired
from care_live.training.data.loading import gather
from care_live.training.evaluation.inference import as_volume, open_engine
from care_live.training.export import export
from care_live.training.train import train
from care_live.trust import domain
from care_live.trust.examiner import Examiner
from tests.training.conftest import small_recipe

SHAPE = (6, 96, 96)
OME = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 1.0}


def written_pairs(folder: Path, n: int = 2) -> Path:
    """Write worms in low light, with voxel sizes and exposures in their files, beside bright ones."""
    for kind in ("low", "high"):
        (folder / kind).mkdir()
    for number in range(n):
        seen = pair(number, SHAPE)
        said = OME | {"Plane": {"ExposureTime": [10.0] * SHAPE[0], "ExposureTimeUnit": ["ms"] * SHAPE[0]}}
        tifffile.imwrite(folder / "low" / f"v{number}.ome.tif", seen.low, metadata=said)
        tifffile.imwrite(folder / "high" / f"v{number}.ome.tif", seen.clean.astype(np.float32), metadata=OME)
    return folder


def data_of(*images: np.ndarray) -> Data:
    volumes = [paired(f"v{number}", [image[None]], image[None]) for number, image in enumerate(images)]
    return Data(volumes[1:], volumes[:1])


def test_inputs_are_described_by_their_files_and_their_pixels(tmp_path: Path) -> None:
    recipe = small_recipe(written_pairs(tmp_path))
    lows = [tifffile.imread(tmp_path / "low" / f"v{number}.ome.tif") for number in range(2)]
    training_domain.keep(tmp_path, recipe, data_of(*lows))
    known, samples = training_domain.load(tmp_path)
    assert known.voxel_size_um == (1.0, 0.5, 0.5)
    assert known.domain.exposure_ms == (10.0, 10.0)
    assert known.domain.pixel_bits == 16
    assert known.domain.signal_electrons is not None and 5 < known.domain.signal_electrons[1] < 60
    low, high = known.domain.intensity_counts or (0, 0)
    assert 90 < low < 102 < high
    whole, small = ([one for one in samples if (one.shape[-1] >= 64) == is_whole] for is_whole in (True, False))
    assert (len(whole), len(small)) == (32, 16) and all(sample.dtype == np.uint16 for sample in samples)
    assert len({sample.tobytes() for sample in samples}) == 48, "each is another part"
    assert {one.shape for one in small} == {(1, 6, 32, 32)}, "they show how features scatter in small fields"


def test_of_a_run_without_a_description_nothing_is_known(tmp_path: Path) -> None:
    assert training_domain.load(tmp_path) == (training_domain.KnownInputs(), [])


def test_normalised_images_say_nothing_of_a_camera(tmp_path: Path) -> None:
    recipe = small_recipe(written_pairs(tmp_path))
    training_domain.keep(tmp_path, recipe, data_of(*np.random.default_rng(0).random((2, *SHAPE), np.float32)))
    known, samples = training_domain.load(tmp_path)
    assert known.domain == TrainingDomain(exposure_ms=(10.0, 10.0)) and not samples


@pytest.mark.slow
def test_the_card_of_a_trained_network_knows_its_data_and_tells_others_apart(tmp_path: Path) -> None:
    recipe = small_recipe(written_pairs(tmp_path), fit={"n_updates": 4, "validate_every": 2})
    train(recipe.model_copy(update={"data": recipe.data.model_copy(update={"pattern": "*.ome.tif"})}), tmp_path / "run")
    card = export(tmp_path / "run", tmp_path / "own.onnx")
    assert card == file.read_card(tmp_path / "own.onnx")
    assert card.voxel_size_um == (1.0, 0.5, 0.5) and card.training.exposure_ms == (10.0, 10.0)
    features = card.training.features
    assert features is not None and 20 < features.n_volumes <= 48
    engine = open_engine(tmp_path / "own.onnx", threads=1)

    def distance(raw: np.ndarray) -> float:
        examiner = Examiner(card)
        examiner.examine(engine.restore([as_volume(raw)])[0])
        return domain.distance(examiner.features, features)

    stripes = 300 + 200 * np.sin(np.arange(96) / 2) * np.ones(SHAPE)
    striped = np.random.default_rng(1).poisson(stripes / 2.17) * 2.17
    assert distance(pair(7, SHAPE).low) < features.limit < distance(striped.astype(np.uint16))


def of_virtual_microscope(specimen: str, seed: int) -> np.ndarray:
    """Return the first stack that the virtual microscope takes of a specimen in a small field."""
    plan = AcquisitionConfig(z_planes=16, z_step_um=1.0, pixel_size_um=0.5)
    config = VirtualConfig.model_validate(
        {"specimen": specimen, "seed": seed, "shape_px": (96, 96), "acquisition": plan}
    )
    heights_um = plan.z_start_um + plan.z_step_um * np.arange(plan.z_planes)
    scene = Scene(config)
    return np.stack(
        [
            scene.expose(Exposure(z, 0.0, 0.0, float(um), plan.channels[0].exposure_ms, 1.0))
            for z, um in enumerate(heights_um)
        ]
    )


def test_the_shipped_network_knows_its_worm_in_a_small_field_of_few_planes_but_no_granules() -> None:
    engine = open_engine(file.shipped("worm3d"), threads=1)

    def is_strange(specimen: str, seed: int) -> bool:
        raw = replace(as_volume(of_virtual_microscope(specimen, seed)), voxel_size_um=(1.0, 0.5, 0.5))
        return Examiner(engine.card).examine(engine.restore([raw])[0]).is_out_of_domain

    assert sum(is_strange("worm", seed) for seed in range(1, 9)) <= 1
    assert all(is_strange("granules", seed) for seed in range(1, 4))


def test_a_command_stores_what_images_of_a_kind_look_like(tmp_path: Path) -> None:
    model = tmp_path / "own.onnx"
    model.write_bytes(file.shipped("live2d").read_bytes())
    written_pairs(tmp_path)
    said = CliRunner().invoke(cli, ["domain", str(model), "--input", str(tmp_path / "low"), "--threads", "1"]).output
    features = file.read_card(model).training.features
    assert features is not None and features.n_volumes > 60
    assert "of 2 images in" in features.origin and "parts of images stored" in said


@pytest.mark.parametrize("given", [[], ["--input", "{}", "--recipe", "{}"]])
def test_images_or_a_recipe_are_wanted(tmp_path: Path, given: list[str]) -> None:
    model = tmp_path / "own.onnx"
    model.write_bytes(file.shipped("live2d").read_bytes())
    with pytest.raises(ConfigError, match="not both"):
        CliRunner().invoke(
            cli, ["domain", str(model), *(one.format(tmp_path) for one in given)], catch_exceptions=False
        )


def test_what_a_recipe_makes_is_described_without_training(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "few"\n[data]\nkind = "simulated"\nspecimens = { granules = 2 }\nvalidation = { granules = 1 }\n'
        "shape_px = [4, 64, 64]\nvoxel_sizes_um = [[1.0, 0.5, 0.5]]\nlaser_power = [1.0, 2.0]\n"
    )
    taken = training_domain.of_inputs(gather(recipes.load(recipe)), recipe.name)
    assert len(taken.parts) >= 90 and all(part.dtype == np.uint16 for part in taken.parts)
    assert taken.origin.endswith("parts of the training's inputs, made anew by recipe.toml")
