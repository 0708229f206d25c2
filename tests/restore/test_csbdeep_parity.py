"""Imported CSBDeep networks, restored by the engine, give what CSBDeep itself gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.model.csbdeep import import_csbdeep
from care_live.restore.engine import Engine
from tests.conftest import need_data
from tests.make.networks import volume

CONFIG = RestoreConfig(provider="cpu", threads=1, normalise=NormaliseConfig(mode="per-volume"))


@pytest.mark.parametrize(
    "name",
    [
        "care2d_prob_d2k5f8",
        "care3d_2to1_prob",
        "care3d_prob_d2k3f8",
        "iso2d_prob",
        "projection_mae",
    ],
)
def test_the_engine_gives_what_csbdeep_gave(tmp_path: Path, name: str) -> None:
    restore_and_compare(tmp_path / "net.onnx", need_data("csbdeep_models") / name, CONFIG)


@pytest.mark.slow
@pytest.mark.parametrize("tile_px", [None, (16, 128, 128)], ids=["whole", "tiled"])
def test_a_trained_network_gives_what_csbdeep_gave(tmp_path: Path, tile_px: tuple[int, int, int] | None) -> None:
    folder = need_data("csbdeep_models") / "care3d_trained_prob_f16"
    restore_and_compare(tmp_path / "net.onnx", folder, CONFIG.model_copy(update={"tile_px": tile_px}))


@pytest.mark.parametrize("factor", [2.0, 3.4, 5.5])
@pytest.mark.parametrize("n_planes", [3, 9])
def test_upsampling_care_is_care_on_what_scipy_zooms(tmp_path: Path, factor: float, n_planes: int) -> None:
    folder = need_data("csbdeep_models") / "care3d_prob_d2k3f8"
    pixels = np.random.default_rng(0).poisson(30, (n_planes, 32, 36)).astype(np.uint16) + 100
    pixels[:, 8:20, 8:20] += np.arange(n_planes, dtype=np.uint16)[:, None, None] * 40
    zoomed = ndimage.zoom(pixels, (factor, 1, 1), order=1)
    import_csbdeep(folder, tmp_path / "care.onnx")
    import_csbdeep(folder, tmp_path / "up.onnx", task="upsample", factor=factor)
    (wanted,) = Engine(tmp_path / "care.onnx", CONFIG).restore([volume(zoomed)])
    (ours,) = Engine(tmp_path / "up.onnx", CONFIG).restore([volume(pixels)])
    assert (ours.low, ours.high) == (wanted.low, wanted.high)
    assert np.abs(ours.mean - wanted.mean).max() < 2e-6 * np.ptp(wanted.mean)


def restore_and_compare(path: Path, folder: Path, config: RestoreConfig) -> None:
    reference = np.load(folder / "reference.npz")
    isotropic = {"task": "isotropic", "factor": float(reference["factor"])} if "factor" in reference else {}
    import_csbdeep(folder, path, **isotropic)  # type: ignore[arg-type]
    x, axes = reference["x"], str(reference["axes"])
    stacked = x if axes.startswith("Z") else x[np.newaxis]
    channels = np.moveaxis(stacked, -1, 0) if axes.endswith("C") else stacked[np.newaxis]
    restored = Engine(path, config).restore([volume(pixels, c=c) for c, pixels in enumerate(channels)])
    for head, ours in (("mean", restored[0].mean), ("scale", restored[0].maps.get("laplace_scale"))):
        if head in reference:
            wanted = np.squeeze(reference[head])
            assert ours is not None
            assert np.abs(np.squeeze(ours) - wanted).max() < 2e-5 * np.ptp(wanted), head
