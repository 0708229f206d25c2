"""A run whose raw volumes are compared with what was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from care_live.images import VolumeKey
from care_live.store import RunReader, verify


def check_raw(folder: Path, pixels: np.ndarray) -> RunReader:
    """Check that every raw volume is stored as it was recorded."""
    reader = RunReader(folder / "runs" / "test")
    assert reader.keys("raw") == [VolumeKey(t) for t in range(len(pixels))]
    assert all((reader.read("raw", key) == pixels[key.t]).all() for key in reader.keys("raw"))
    assert verify(folder / "runs" / "test").clean
    return reader
