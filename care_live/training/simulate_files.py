"""Simulated recordings as TIFF files: one folder a dose, one for the truth, files named alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from care_live.simulate import noise, sensor
from care_live.training.data import Tell
from care_live.training.recipe import SpecimenName
from care_live.training.simulated import expected_electrons


def write_pairs(
    out: Path,
    specimen: SpecimenName,
    *,
    n: int,
    laser_power: Sequence[float],
    shape_px: tuple[int, int, int],
    voxel_size_um: tuple[float, float, float],
    seed: int,
    tell: Tell = lambda name: None,
) -> tuple[Path, ...]:
    """Write ``out/power-P/NAME.tif`` (uint16) for every dose and ``out/truth/NAME.tif`` (float32 counts at power 1).

    Returns
    -------
    The folders: every dose, then the truth.
    """
    folders = [out / f"power-{power:g}" for power in laser_power] + [out / "truth"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        name = f"{specimen}-{seed + number:04d}.tif"
        tell(name)
        electrons = expected_electrons(specimen, seed + number, shape_px=shape_px, voxel_size_um=voxel_size_um)
        camera = sensor(shape_px[1:], seed + number)
        for dose, (power, folder) in enumerate(zip(laser_power, folders, strict=False)):
            rng = noise.generator(seed + number, dose)
            shots = [camera.expose(plane * np.float32(power), rng) for plane in electrons]
            _write(folder / name, np.stack(shots), voxel_size_um)
        _write(folders[-1] / name, camera.expected_counts(electrons), voxel_size_um)
    return tuple(folders)


def _write(path: Path, image: np.ndarray, voxel_size_um: tuple[float, float, float]) -> None:
    z_um, y_um, x_um = voxel_size_um
    metadata = {"axes": "ZYX", "spacing": z_um, "unit": "um"}
    tifffile.imwrite(
        path,
        image,
        imagej=True,
        resolution=(1 / x_um, 1 / y_um),
        metadata=metadata,
        photometric="minisblack",
        compression="zlib",
    )
