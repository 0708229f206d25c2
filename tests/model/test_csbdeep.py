"""Imported CSBDeep networks give what CSBDeep gave, and a file that is none is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.errors import ModelError
from care_live.images import Integrity, Restored, Volume, VolumeKey
from care_live.model import file
from care_live.model.csbdeep import import_csbdeep
from care_live.restore.engine import Engine
from tests.conftest import need_data

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
    planes = tuple(range(pixels.shape[1]))
    return [
        Volume(
            run_id="run",
            key=VolumeKey(0, 0, c),
            pixels=channel,
            voxel_size_um=(1.0, 1.0, 1.0),
            integrity=Integrity(planes, planes),
            closed="complete",
            state="confirmed",
            first_plane_ns=0,
            last_plane_ns=0,
            acquired_us=0,
        )
        for c, channel in enumerate(pixels)
    ]


def restore(model: Path, x: np.ndarray, axes: str, **config: object) -> Restored:
    """Restore CSBDeep's input with the live engine."""
    channels_first = np.moveaxis(x, axes.index("C"), 0) if "C" in axes else x[np.newaxis]
    pixels = channels_first if "Z" in axes else channels_first[:, np.newaxis]
    (restored,) = Engine(model, CONFIG.model_copy(update=config)).restore(volumes_of(np.ascontiguousarray(pixels)))
    return restored


@pytest.mark.parametrize("name", NAMES)
def test_an_imported_network_gives_csbdeeps_own_output(tmp_path, name):
    folder = need_data("csbdeep_models") / name
    reference = np.load(folder / "reference.npz")
    task, factor = TASKS.get(name, (None, 1.0))
    card = import_csbdeep(folder, tmp_path / "net.onnx", task=task, factor=factor)
    assert card.name == name
    assert file.read_card(tmp_path / "net.onnx") == card
    restored = restore(tmp_path / "net.onnx", reference["x"], str(reference["axes"]))
    assert_close(restored.mean, reference["mean"])
    if "scale" in reference:
        assert_close(restored.laplace_scale, reference["scale"])
    else:
        assert restored.laplace_scale is None


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    wanted = wanted.reshape(found.shape)
    assert np.abs(found - wanted).max() <= 1e-4 * np.ptp(wanted)
