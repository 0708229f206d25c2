"""Image files to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from tests.training.conftest import blobs


def write_pair(folder: Path, shape: tuple[int, ...], n: int = 1) -> None:
    for number in range(n):
        clean = blobs(number, shape)
        noise = np.random.default_rng(number).normal(0, 60, shape)
        for name, image in (("low", 100 + clean + noise), ("high", 100 + 20 * clean)):
            (folder / name).mkdir(exist_ok=True)
            tifffile.imwrite(
                folder / name / f"v{number}.tif", np.clip(image, 0, 65535).astype(np.uint16), photometric="minisblack"
            )


def write_exposures(folder: Path, shape: tuple[int, ...]) -> None:
    clean = blobs(0, shape)
    for seed, name in enumerate(("first", "second")):
        (folder / name).mkdir()
        noisy = 100 + clean + np.random.default_rng(seed).normal(0, 150, shape)
        tifffile.imwrite(folder / name / "v.tif", noisy.clip(0).astype(np.uint16), photometric="minisblack")


def write_pairs(folder: Path, n: int = 3, shape: tuple[int, ...] = (6, 48, 48)) -> None:
    for number in range(n):
        clean = blobs(number, shape)
        noise = np.random.default_rng(number).normal(0, 60, shape)
        for name, image in (("low", 100 + clean + noise), ("high", 100 + 20 * clean)):
            path = folder / name / f"v{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, np.clip(image, 0, 65535).astype(np.uint16))


def write_movie(path: Path, shape: tuple[int, int, int]) -> None:
    """Write a noisy time-lapse (t, y, x) of a specimen that stands still."""
    clean = blobs(0, shape[1:])
    noisy = 100 + clean + np.random.default_rng(0).normal(0, 60, shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, noisy.clip(0, 65535).astype(np.uint16), photometric="minisblack", metadata={"axes": "TYX"})
