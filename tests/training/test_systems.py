"""Every system from its data to a restored volume: trained for a moment, exported, run by the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from care_live.training.evaluation.inference import as_volume, open_engine
from care_live.training.export import export
from care_live.training.recipe import Recipe
from care_live.training.train import train
from tests.training.conftest import blobs

pytestmark = pytest.mark.slow

FLAT = {"axes": "YX", "pool_px": [2, 2]}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[int, int, int, int]]] = {
    "isotropic": (FLAT, {"kind": "isotropic", "volumes": "high", "factor": 2.5}, (1, 15, 48, 48)),
    "upsample": ({}, {"kind": "upsample", "volumes": "high", "factor": 2.0}, (1, 12, 48, 48)),
    "plane by plane": (FLAT, {"kind": "pairs", "inputs": ["low"], "target": "high"}, (1, 6, 48, 48)),
    "project": (
        FLAT | {"projection": True, "projection_depth": 1, "projection_filters": 2},
        {"kind": "pairs", "inputs": ["low"], "target": "flat"},
        (1, 1, 48, 48),
    ),
    "two channels to one": (
        {"n_channels_in": 2, "residual": False},
        {"kind": "pairs", "inputs": ["both"], "target": "high", "axes": "CZYX"},
        (1, 6, 48, 48),
    ),
}


def write(folder: Path) -> None:
    """Three volumes as low, high, their projection, and low beside a second channel."""
    for number in range(3):
        clean = blobs(number, (6, 48, 48))
        noisy = np.clip(100 + clean + np.random.default_rng(number).normal(0, 50, clean.shape), 0, 65535)
        images = {"low": noisy, "high": 100 + clean, "flat": 100 + clean.max(axis=0), "both": np.stack([noisy, clean])}
        for name, image in images.items():
            path = folder / name / f"v{number}.tif"
            path.parent.mkdir(exist_ok=True)
            tifffile.imwrite(path, image.astype(np.uint16))


def placed(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    paths = {key: str(folder / data[key]) for key in ("volumes", "target") if key in data}
    return data | paths | ({"inputs": [str(folder / name) for name in data["inputs"]]} if "inputs" in data else {})


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_from_data_to_restored(tmp_path: Path, case: tuple[Any, Any, tuple[int, int, int, int]]) -> None:
    network, data, shape = case
    write(tmp_path)
    if data.get("axes") == "CZYX":  # the target has a channel axis, too
        for path in (tmp_path / "high").iterdir():
            tifffile.imwrite(path, tifffile.imread(path)[None])
    patch = [16, 16] if network.get("axes") == "YX" and "projection" not in network else [4, 16, 16]
    fit = {"n_updates": 3, "validate_every": 3, "batch": 2, "patch_px": patch, "n_validation_patches": 2, "threads": 1}
    small = {"filters": 2, "depth": 1, "pool_px": [1, 2, 2]}
    tree = {"name": "case", "network": small | network, "data": placed(data, tmp_path), "fit": fit | {"device": "cpu"}}
    recipe = Recipe.model_validate(tree)
    train(recipe, tmp_path / "run")
    card = export(tmp_path / "run", tmp_path / "net.onnx")
    assert card.task == recipe.task
    raw = tifffile.imread(tmp_path / "both" / "v0.tif")
    channels = [as_volume(raw[c], c) for c in range(len(card.channels_in))]
    restored = open_engine(tmp_path / "net.onnx", threads=1).restore(channels)
    assert (len(restored), *restored[0].mean.shape) == shape
    assert all(np.isfinite(result.mean).all() for result in restored)
