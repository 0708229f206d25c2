"""Semi-synthetic pairs: sharp slices, degraded as the microscope degrades the axis that it sees badly.

Isotropic networks learn from lateral slices whose y plays the part of z; upsampling networks learn from
stacks of which planes are left out. Both are put back on the fine grid as the restorer does it, linearly.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError, TrainingError
from care_live.simulate import degrade
from care_live.training import volumes
from care_live.training.data import Data, Tell
from care_live.training.examples import PairedVolume, paired, planes_of
from care_live.training.pairs import split
from care_live.training.recipe import IsotropicData, Recipe, UpsampleData

Pixels = NDArray[np.float32]


def gather_degraded(data: IsotropicData | UpsampleData, recipe: Recipe, tell: Tell) -> Data:
    """Read sharp volumes and degrade each of them; see `gather` for what is refused."""
    examples: list[PairedVolume] = []
    found = volumes.find(data.volumes, data.pattern, data.axes)
    for number, (name, stored) in enumerate(found.items()):
        tell(name)
        sharp = np.asarray(volumes.read(stored, n_channels=recipe.network.n_channels_in)[:], np.float32)
        try:
            rng = np.random.default_rng([recipe.seed, number])
            examples += _degraded(name, sharp, data, rng, file=stored.file if len(found) > 1 else "")
        except ConfigError as error:
            raise TrainingError(f"{stored.label}: {error}") from error
    return split(examples, data.validation, turns=isinstance(data, UpsampleData))


def _degraded(
    name: str, sharp: Pixels, data: IsotropicData | UpsampleData, rng: np.random.Generator, *, file: str
) -> list[PairedVolume]:
    """Return the examples of one volume (c, [z,] y, x): the stack itself, or its slices."""
    if isinstance(data, UpsampleData):
        return [paired(name, [without_planes(sharp, data.factor)], sharp, file=file)]
    slices = sharp if sharp.ndim == 4 else sharp[:, None]
    turned = np.ascontiguousarray(np.swapaxes(slices, -1, -2))
    return [*_lying(name, slices, data, rng, file=file), *_lying(name, turned, data, rng, file=file)]


def _lying(
    name: str, slices: Pixels, data: IsotropicData, rng: np.random.Generator, *, file: str
) -> list[PairedVolume]:
    """Degrade slices (c, z, y, x) along y; each is an example.

    A slice is degraded along both of its axes, one after the other: the same place must not be learnt from one
    way and judged the other way, so both share the name by which they are split.
    """
    seen = degrade.anisotropic(
        slices,
        axial_blur(data),
        data.factor,
        rng=rng,
        counts_per_electron=data.counts_per_electron,
        gauss_counts=data.gauss_sigma_counts,
    )
    planes = planes_of(paired(name, [seen], slices, file=file))
    return planes if file else [replace(plane, file=plane.name) for plane in planes]


def without_planes(sharp: Pixels, factor: float) -> Pixels:
    """Leave planes out of (c, z, y, x) and interpolate them from their neighbours."""
    upright = np.swapaxes(sharp, 1, 2)  # (c, y, z, x): planes are the rows now
    kept = degrade.restack(degrade.thin_out(upright, factor), sharp.shape[1])
    return np.ascontiguousarray(np.swapaxes(kept, 1, 2))


def axial_blur(data: IsotropicData) -> Pixels:
    """Return the axial point spread function turned into the plane, (y, x), sum 1."""
    if data.psf is not None:
        turned: Any = volumes.read_psf(data.psf).sum(axis=1)
    else:
        axial, lateral = data.psf_sigma_px
        sigma = math.sqrt(max(axial**2 - lateral**2, 1e-6))
        reach = math.ceil(3 * sigma)
        turned = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)[:, None]
    return np.asarray(turned / turned.sum(), np.float32)
