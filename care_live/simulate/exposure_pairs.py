"""Training pairs: the same worm as noise-free counts and as the camera sees it in low light."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.simulate import noise
from care_live.simulate.grid import Grid
from care_live.simulate.microscope import Light, Microscope, sensor
from care_live.simulate.psf import SPINNING_DISK, Psf
from care_live.simulate.worm import Worm


class Pair(NamedTuple):
    """One volume twice."""

    clean: NDArray[np.float32]
    """(z, y, x) expected camera counts: blurred by the microscope, no noise, nominal offset and gain."""
    low: NDArray[np.uint16]
    """(z, y, x) camera counts in low light."""


def pair(
    seed: int,
    shape_px: tuple[int, int, int] = (32, 128, 128),
    *,
    voxel_size_um: tuple[float, float, float] = (1.0, 0.5, 0.5),
    laser_power: float = 1.0,
    psf: Psf = SPINNING_DISK,
    field_um: tuple[float, float] = (128.0, 128.0),
    channel: int = 0,
) -> Pair:
    """Simulate one training pair: another worm, moment, place and camera for every seed.

    Parameters
    ----------
    seed : the same seed is the same pair; another ``channel`` of it shows the same worm in another dye
    shape_px : (z, y, x); smaller than the field, it is cut out around some nucleus
    voxel_size_um : (z, y, x)
    laser_power : 1 is low light (bright nuclei give about 20 electrons), 60 a bright reference; ``clean``
        scales with it
    field_um : (y, x) field in which the worm lives

    Raises
    ------
    ConfigError
        psfmodels is not installed and ``psf`` is a computed one.
    """
    rng = np.random.default_rng((0xBA12, seed))
    worm = Worm(seed, field_um)
    t_s = float(rng.uniform(0, 1000))
    view_um = np.array(shape_px) * voxel_size_um
    middle_um = _look_at(worm.particles(t_s).position_um, view_um, field_um, rng)
    grid = Grid.centred(shape_px, voxel_size_um, middle_um)
    electrons = Microscope(worm, psf).truth(grid, t_s, Light(laser_power), channel)
    camera = sensor(shape_px[1:], seed)
    shots = [camera.expose(plane, noise.generator(seed, channel, z)) for z, plane in enumerate(electrons)]
    return Pair(camera.expected_counts(electrons), np.stack(shots))


def _look_at(
    nuclei_um: NDArray[np.float64],
    view_um: NDArray[np.float64],
    field_um: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Choose the middle of the view: some nucleus, but no further out than the field."""
    chosen = rng.choice(nuclei_um)
    free_um = np.maximum(0, np.array([view_um[0] / 4, *(np.array(field_um) - view_um[1:]) / 2]))
    z_um, y_um, x_um = np.clip(chosen * (0.3, 1, 1), -free_um, free_um)
    return float(z_um), float(y_um), float(x_um)
