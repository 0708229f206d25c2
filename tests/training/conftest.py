"""Small volumes and small networks that train in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from care_live.training.data.examples import Data, PairedVolume, paired
from care_live.training.evaluation.inference import Applied
from care_live.training.recipe import Recipe


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(3)
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)  # torch's exporter shows a bar, whose thread would stay


def blobs(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Smooth bright spots on a dark field, 0 to about 1000 counts."""
    rng = np.random.default_rng(seed)
    spots = ndimage.gaussian_filter((rng.random(shape) > 0.99).astype(np.float32), 1.2)
    return np.asarray(1000 * spots / spots.max(), np.float32)


def noisy_pair(seed: int, shape: tuple[int, ...] = (6, 32, 32), sigma: float = 100.0) -> PairedVolume:
    clean = blobs(seed, shape)
    raw = np.clip(100 + clean + np.random.default_rng(seed + 99).normal(0, sigma, shape), 0, 65535).astype(np.uint16)
    return paired(f"blobs-{seed}", [raw[None]], clean[None])


@pytest.fixture
def small_data() -> Data:
    return Data([noisy_pair(seed) for seed in range(3)], [noisy_pair(10)])


def small_recipe(tmp_path: Path, **changes: Any) -> Recipe:
    """A 3D network of 4 filters and 12 updates; `changes` go to the sections they name."""
    tree: dict[str, Any] = {
        "name": "small",
        "seed": 5,
        "network": {"filters": 4, "depth": 1, "pool_px": [1, 2, 2], "initialise": "he", "batch_norm": True},
        "data": {"kind": "pairs", "inputs": [str(tmp_path / "low")], "target": str(tmp_path / "high")},
        "fit": {
            "n_updates": 12,
            "batch": 2,
            "patch_px": [4, 16, 16],
            "learning_rate": 2e-3,
            "validate_every": 6,
            "n_validation_patches": 3,
            "threads": 1,
            "device": "cpu",
        },
    }
    for name, value in changes.items():
        tree[name] = {**tree.get(name, {}), **value} if isinstance(value, dict) else value
    return Recipe.model_validate(tree)


def applied(seed: int, *, width: float = 1.0, ensemble: bool = True) -> Applied:
    """A network whose errors are `width` times larger than it says."""
    rng = np.random.default_rng(seed)
    truth = blobs(seed, (2, 64, 64))[None] / 1000
    scale = rng.uniform(0.02, 0.2, truth.shape).astype(np.float32)
    mean = truth + width * rng.laplace(0, scale).astype(np.float32)
    return Applied("low", f"v{seed}", truth, mean, scale, scale / scale.max() if ensemble else None, truth)
