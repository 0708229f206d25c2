"""Imported CSBDeep networks give what CSBDeep gave, and a file that is none is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.ndimage import zoom

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.errors import ModelError
from care_live.images import Restored, Volume, VolumeKey
from care_live.model import file
from care_live.model.csbdeep import import_csbdeep
from care_live.restore.engine import Engine
from tests.conftest import need_data
from tests.make.keras_files import compute, config_of, project, save_model, seeded_layers, weighing_layers
from tests.make.records import volume

CONFIG = RestoreConfig(provider="cpu", threads=1, normalise=NormaliseConfig(mode="per-volume", noise_floor_counts=0))
TASKS = {"iso2d_prob": ("isotropic", 3.4)}
NAMES = [
    "care2d_prob_d2k5f8",
    "care3d_prob_d2k3f8",
    "care3d_2to1_prob",
    "care3d_trained_prob_f16",
    "iso2d_prob",
    "projection_mae",
]


def volumes_of(pixels: np.ndarray) -> list[Volume]:
    """One volume for each channel of (c, z, y, x) counts."""
    return [volume(channel, VolumeKey(0, 0, c)) for c, channel in enumerate(pixels)]


def restore(model: Path, pixels: np.ndarray, **config: object) -> tuple[Restored, ...]:
    """Restore (c, z, y, x) counts with the live engine."""
    return Engine(model, CONFIG.model_copy(update=config)).restore(volumes_of(np.ascontiguousarray(pixels)))


def as_czyx(x: np.ndarray, axes: str) -> np.ndarray:
    channels_first = np.moveaxis(x, axes.index("C"), 0) if "C" in axes else x[np.newaxis]
    return channels_first if "Z" in axes else channels_first[:, np.newaxis]


def counts(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).gamma(2.0, 40.0, shape).astype(np.uint16) + np.uint16(100)


def ranges(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CSBDeep's low and high of each channel, (c, 1, 1, 1)."""
    low, high = np.percentile(pixels, (2, 99.8), axis=(1, 2, 3), keepdims=True)
    return low.astype("f4"), high.astype("f4")


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    wanted = wanted.reshape(found.shape)
    assert np.abs(found - wanted).max() <= 1e-4 * np.ptp(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_imported_network_gives_csbdeeps_own_output(tmp_path, name):
    folder = need_data("csbdeep_models") / name
    reference = np.load(folder / "reference.npz")
    task, factor = TASKS.get(name, (None, 1.0))
    card = import_csbdeep(folder, tmp_path / "net.onnx", task=task, factor=factor)
    assert card.name == name
    assert file.read_card(tmp_path / "net.onnx") == card
    (restored,) = restore(tmp_path / "net.onnx", as_czyx(reference["x"], str(reference["axes"])))
    assert_close(restored.mean, reference["mean"])
    if "scale" in reference:
        assert_close(restored.maps["laplace_scale"], reference["scale"])
    else:
        assert "laplace_scale" not in restored.maps


@pytest.mark.slow
@pytest.mark.parametrize("name", ["care2d_prob_d2k5f8", "projection_mae"])
def test_tiles_at_the_derived_halo_give_the_whole_result(tmp_path, name):
    card = import_csbdeep(need_data("csbdeep_models") / name, tmp_path / "net.onnx")
    side = 2 * card.halo_px[-1] + 2 * card.divisor[-1]
    pixels = counts(1, 16 if card.axes == "ZYX" else 1, 24, 2 * side)
    (whole,) = restore(tmp_path / "net.onnx", pixels)
    (tiled,) = restore(tmp_path / "net.onnx", pixels, tile_px=(16, 32, side))
    assert np.abs(tiled.mean - whole.mean).max() <= 1e-5 * np.ptp(whole.mean)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(config_of(unet_n_depth=1, probabilistic=False), id="depth-1-mean-only"),
        pytest.param(config_of(unet_n_depth=3, unet_n_first=2), id="depth-3"),
        pytest.param(config_of(unet_kern_size=7, unet_residual=False), id="kernel-7-not-residual"),
        pytest.param(config_of(unet_last_activation="relu", unet_residual=False), id="relu"),
        pytest.param(config_of("XYC", unet_kern_size=5), id="x-before-y"),
        pytest.param(config_of("CYX", n_channel_in=2, n_channel_out=2), id="two-channels"),
        pytest.param(config_of("ZYXC", unet_n_depth=1, n_channel_in=1, n_channel_out=3), id="3d-one-to-three"),
        pytest.param(config_of("YXZC", unet_last_activation="relu"), id="3d-z-last"),
    ],
)
def test_any_care_network_gives_what_its_layers_compute(tmp_path, config):
    layers = seeded_layers(config)
    folder = save_model(tmp_path / "model", config, layers, old_keras=config["unet_n_depth"] == 1)
    import_csbdeep(folder, tmp_path / "net.onnx")
    space = config["axes"].replace("C", "")
    pixels = counts(config["n_channel_in"], 8 if "Z" in space else 1, 24, 32)
    low, high = ranges(pixels)
    normalised = (pixels - low) / (high - low)
    own_order = ["CZYX".index(axis) for axis in space]
    leftover = [i for i in (1, 2, 3) if i not in own_order]
    turned = normalised.transpose(*leftover, *own_order, 0).reshape(1, *[pixels.shape[i] for i in own_order], -1)
    restored = restore(tmp_path / "net.onnx", pixels)
    for head, outcome in zip(("mean", "laplace_scale"), compute(config, layers, turned), strict=True):
        if outcome is None:
            continue
        back = np.moveaxis(outcome[0], -1, 0).transpose(0, *[1 + space.index(axis) for axis in "ZYX" if axis in space])
        for c, result in enumerate(restored):
            wanted = back[c]
            if config["n_channel_in"] == config["n_channel_out"]:
                width, offset = (high - low)[c, 0, 0, 0], low[c, 0, 0, 0]
                wanted = wanted * width + (offset if head == "mean" else 0)
            assert_close(result.maps[head], wanted)


def test_any_projection_network_gives_what_its_layers_compute(tmp_path):
    projecting = {"proj_axis": "Z", "proj_n_depth": 2, "proj_n_filt": 3, "proj_n_conv_per_depth": 2}
    config = config_of(
        "ZYXC", n_channel_in=2, n_channel_out=2, **projecting, proj_kern=[1, 3, 5], proj_pool=[1, 2, 2], unet_n_depth=1
    )
    weighing = weighing_layers(config)
    plane = config | {"n_dim": 2}
    layers = seeded_layers(plane)
    card = import_csbdeep(save_model(tmp_path / "model", config, weighing | layers), tmp_path / "net.onnx")
    assert (card.task, card.divisor) == ("project", (1, 4, 4))
    pixels = counts(2, 6, 24, 32)
    low, high = ranges(pixels)
    normalised = np.moveaxis((pixels - low) / (high - low), 0, -1)[np.newaxis]
    mean, scale = compute(plane, layers, project(config, weighing, normalised))
    for c, restored in enumerate(restore(tmp_path / "net.onnx", pixels)):
        width, offset = (high - low)[c, 0, 0, 0], low[c, 0, 0, 0]
        assert_close(restored.mean, mean[..., c] * width + offset)
        assert_close(restored.maps["laplace_scale"], scale[..., c] * width)


@pytest.mark.parametrize("n_z", [5, 7])
def test_both_views_of_an_isotropic_network_are_turned_as_csbdeep_turns_them(tmp_path, n_z):
    config = config_of(unet_kern_size=3, unet_n_depth=2)
    layers = seeded_layers(config)
    import_csbdeep(save_model(tmp_path / "model", config, layers), tmp_path / "net.onnx", task="isotropic", factor=3)
    pixels = counts(1, n_z, 12, 16)
    low, high = (bound.item() for bound in ranges(pixels))
    tall = zoom(((pixels[0] - low) / (high - low)).astype("f4"), (3, 1, 1), order=1)
    extra = -len(tall) % 4
    padded = np.pad(tall, ((extra // 2, extra - extra // 2), (0, 0), (0, 0)), mode="reflect")
    yz, yz_scale = compute(config, layers, padded[::-1].transpose(2, 1, 0)[..., np.newaxis])  # x, (y, z upside down)
    xz, xz_scale = compute(config, layers, padded.transpose(1, 2, 0)[..., np.newaxis])  # y, (x, z)
    views = yz[..., 0].transpose(2, 1, 0)[::-1], xz[..., 0].transpose(2, 0, 1)
    scales = yz_scale[..., 0].transpose(2, 1, 0)[::-1], xz_scale[..., 0].transpose(2, 0, 1)
    inside = slice(extra // 2, extra // 2 + len(tall))
    wanted = np.sqrt(np.maximum(views[0], 0) * np.maximum(views[1], 0))[inside] * (high - low) + low
    (restored,) = restore(tmp_path / "net.onnx", pixels)
    assert_close(restored.mean, wanted)
    assert_close(restored.maps["laplace_scale"], np.maximum(*scales)[inside] * (high - low))


def test_an_upsampling_network_is_shown_interpolated_planes(tmp_path):
    config = config_of("ZYXC", unet_n_depth=1)
    layers = seeded_layers(config)
    import_csbdeep(save_model(tmp_path / "model", config, layers), tmp_path / "net.onnx", task="upsample", factor=2)
    pixels = counts(1, 4, 12, 16)
    (restored,) = restore(tmp_path / "net.onnx", pixels)
    tall = zoom(pixels[0], (2, 1, 1), order=1)
    low, high = np.percentile(tall, (2, 99.8))
    assert (restored.low, restored.high) == pytest.approx((low, high))
    mean, _ = compute(config, layers, ((tall - low) / (high - low))[np.newaxis, ..., np.newaxis])
    assert_close(restored.mean, mean[0, ..., 0] * (high - low) + low)


@pytest.fixture
def folder(tmp_path):
    config = config_of()
    return save_model(tmp_path / "model", config, seeded_layers(config))


def refuse(folder: Path, match: str, **options: object) -> None:
    out = folder.parent / "net.onnx"
    with pytest.raises(ModelError, match=match):
        import_csbdeep(folder, out, **options)
    assert not out.exists()


def test_a_cut_off_weights_file_is_named(folder):
    weights = folder / "weights_best.h5"
    weights.write_bytes(weights.read_bytes()[:3000])
    refuse(folder, r"weights_best\.h5.*cut off")


def test_weights_of_another_network_do_not_fit(folder):
    (folder / "config.json").write_text(json.dumps(config_of(unet_n_depth=3)))
    refuse(folder, "config and weights do not belong")
    (folder / "config.json").write_text(json.dumps(config_of(unet_n_first=8)))
    refuse(folder, r"convolution down0_0 has weights \(4, 1, 3, 3\), the architecture needs \(8, 1, 3, 3\)")
    (folder / "config.json").write_text(json.dumps(config_of(probabilistic=False)))
    refuse(folder, "the weights have 2 heads, the config says 1")


def test_missing_and_broken_files_are_named(folder):
    (folder / "config.json").write_text('{"axes": "YXC"}')
    refuse(folder, r"config\.json describes no CARE network: n_channel_in")
    (folder / "config.json").write_text("not JSON")
    refuse(folder, r"config\.json describes no CARE network")
    (folder / "config.json").unlink()
    refuse(folder, r"cannot read .*config\.json: No such file")
    (folder / "config.json").write_text(json.dumps(config_of()))
    (folder / "weights_best.h5").unlink()
    refuse(folder, "has no weights")


def test_another_layout_and_other_layers_are_refused(folder):
    with h5py.File(folder / "weights_best.h5", "r+") as opened:
        opened["middle_0"].attrs["weight_names"] = [b"middle_0/kernel"]
    refuse(folder, "layer middle_0 of .* holds kernel: a CARE network has only convolutions")
    with h5py.File(folder / "weights_best.h5", "w") as opened:
        opened["layers/conv2d/vars/0"] = np.zeros(3)
    refuse(folder, "has no layer_names: only Keras's legacy HDF5 layout")


@pytest.mark.parametrize(
    ("axes", "options", "match"),
    [
        ("TYXC", {}, "a network over TYXC: only YX and ZYX"),
        ("YXC", {"task": "upsample", "factor": 4}, "one that upsamples z is over ZYX"),
        ("ZYXC", {"task": "isotropic", "factor": 4}, "an isotropic one is over YX"),
        ("YXC", {"task": "isotropic"}, "needs the factor"),
        ("YXC", {"task": "project"}, "is no projection network"),
    ],
)
def test_a_task_that_does_not_fit_is_refused(folder, axes, options, match):
    (folder / "config.json").write_text(json.dumps(config_of(axes)))
    refuse(folder, match, **options)


def test_weights_under_another_name_are_found(folder):
    shutil.move(folder / "weights_best.h5", folder / "mine.h5")
    assert import_csbdeep(folder, folder.parent / "net.onnx", name="mine").name == "mine"
