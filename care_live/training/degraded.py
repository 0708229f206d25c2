"""Semi-synthetic pairs: sharp slices, degraded as the microscope degrades the axis that it sees badly.

Isotropic networks learn from lateral slices whose y plays the part of z, see `slices`; upsampling networks learn
from stacks of which planes are left out. Both are put back on the fine grid as the restorer does it, linearly.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError, TrainingError
from care_live.simulate import Measured, degrade
from care_live.training import volumes
from care_live.training.data import Data, Tell
from care_live.training.examples import PairedVolume, paired
from care_live.training.pairs import split
from care_live.training.recipe import IsotropicData, Recipe, UpsampleData
from care_live.training.slices import Degradation, LateralSlice

Pixels = NDArray[np.float32]


def gather_degraded(data: IsotropicData | UpsampleData, recipe: Recipe, tell: Tell) -> Data:
    """Read sharp volumes and degrade each of them; see `gather` for what is refused."""
    examples: list[PairedVolume | LateralSlice] = []
    found = volumes.find(data.volumes, data.pattern, data.axes)
    for number, (name, stored) in enumerate(found.items()):
        tell(name)
        sharp = np.asarray(volumes.read(stored, n_channels=recipe.network.n_channels_in)[:], np.float32)
        file = stored.file if len(found) > 1 else ""
        try:
            if isinstance(data, UpsampleData):
                examples.append(paired(name, [without_planes(sharp, data.factor)], sharp, file=file))
            else:
                rng = np.random.default_rng([recipe.seed, number])
                examples += _lateral_slices(name, sharp, data, file=file, rng=rng)
        except ConfigError as error:
            raise TrainingError(f"{stored.label}: {error}") from error
    return split(examples, data.validation, turns=isinstance(data, UpsampleData))


def _lateral_slices(
    name: str, sharp: Pixels, data: IsotropicData, *, file: str, rng: np.random.Generator
) -> list[LateralSlice]:
    """Return the slices of one volume (c, [z,] y, x), to be degraded as the axis across them is."""
    stack = sharp if sharp.ndim == 4 else sharp[:, None]
    spacing_px = plane_spacing_px(stack.shape[1], data.factor)
    how = Degradation(axial_blur(data), spacing_px, data.counts_per_electron, data.gauss_sigma_counts)
    return LateralSlice.all_of(name, stack, how, file=file, rng=rng)


def plane_spacing_px(n_planes: int, factor: float) -> float:
    """Return how far apart the planes of a stack lie on the restored grid, whose first and last plane are theirs."""
    return (round(n_planes * factor) - 1) / (n_planes - 1) if n_planes > 1 else factor


def without_planes(sharp: Pixels, factor: float) -> Pixels:
    """Leave planes out of (c, z, y, x) and interpolate them from their neighbours."""
    upright = np.swapaxes(sharp, 1, 2)  # (c, y, z, x): planes are the rows now
    kept = degrade.restack(degrade.thin_out(upright, factor), sharp.shape[1])
    return np.ascontiguousarray(np.swapaxes(kept, 1, 2))


def axial_blur(data: IsotropicData) -> Pixels:
    """Return the axial point spread function turned into the plane, (y, x), sum 1."""
    if data.psf is not None:
        measured = Measured(volumes.read_psf(data.psf), (1.0, 1.0, 1.0), most_um=(np.inf, np.inf))
        return degrade.turned_psf(measured, 1.0)  # one of its voxels is a pixel
    axial, lateral = data.psf_sigma_px
    sigma = math.sqrt(max(axial**2 - lateral**2, 1e-6))
    reach = math.ceil(3 * sigma)
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)[:, None]
    return np.asarray(line / line.sum(), np.float32)
