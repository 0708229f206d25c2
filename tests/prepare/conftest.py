"""Specimens exposed twice, without a microscope."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from care_live.config import Config, parse
from tests.training.conftest import blobs

Pixels = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)  # torch's exporter shows a bar, whose thread would stay


def config(**sections: Any) -> Config:
    """A small virtual microscope: 4 pairs of 8 planes in two seconds."""
    acquisition = {"z_planes": 8, "channels": [{"exposure_ms": 1.0}]}
    source = {"kind": "virtual", "shape_px": (64, 64), "laser_power": 10.0, "specimen_step_s": 60.0}
    tree = {"source": {**source, "acquisition": acquisition}, "prepare": {"pairs": 4, "minutes": 0.02, "threads": 1}}
    return parse(tree | sections, origin="test")


def electrons(seed: int, shape: tuple[int, int, int] = (8, 64, 64)) -> Pixels:
    """Return a specimen of up to 40 photo-electrons in a dim exposure."""
    return blobs(seed, shape) / 25


def exposed(specimen: Pixels, *, light: float = 1.0, seed: int = 0) -> Pixels:
    """Return (1, z, y, x) counts of a camera with an offset of 100, 1 electron of read noise, 2 counts an electron."""
    rng = np.random.default_rng([seed, int(10 * light)])
    counts = 100 + 2 * (rng.poisson(specimen * light) + rng.normal(0, 1, specimen.shape))
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)[None]
