"""Semi-synthetic pairs: sharp slices, degraded as the microscope degrades the axis that it sees badly.

Isotropic networks learn from lateral slices whose y plays the part of z; upsampling networks learn from
stacks of which planes are left out. Both are put back on the fine grid as the restorer does it, linearly.

References
----------
Weigert et al., "Isotropic reconstruction of 3D fluorescence microscopy images using convolutional neural
networks", MICCAI 2017.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from care_live.errors import TrainingError
from care_live.training import volumes
from care_live.training.data import Data, Tell
from care_live.training.examples import PairedVolume, paired, planes_of
from care_live.training.pairs import split
from care_live.training.recipe import IsotropicData, Recipe, UpsampleData

Pixels = NDArray[np.float32]


def gather_degraded(data: IsotropicData | UpsampleData, recipe: Recipe, tell: Tell) -> Data:
    """Read sharp volumes and degrade each of them; see `gather` for what is refused."""
    examples: list[PairedVolume] = []
    for number, (name, stored) in enumerate(volumes.find(data.volumes, data.pattern, data.axes).items()):
        tell(name)
        sharp = np.asarray(volumes.read(stored, n_channels=recipe.network.n_channels_in)[:], np.float32)
        if sharp.ndim == 3:
            sharp = sharp[:, None]
        rng = np.random.default_rng([recipe.seed, number])
        if isinstance(data, UpsampleData):
            seen, kept = subsampled(sharp, axis=1, factor=data.factor)
            examples.append(paired(name, [seen], kept, file=stored.file))
        else:
            seen, kept = degraded(sharp, data, rng)
            examples += planes_of(paired(name, [seen], kept, file=stored.file))
    return split(examples, data.validation, turns=isinstance(data, UpsampleData))


def degraded(sharp: Pixels, data: IsotropicData, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Blur, expose and subsample lateral slices along y.

    Parameters
    ----------
    sharp : (c, z, y, x) counts, sharp in y and x

    Returns
    -------
    (seen, kept), both (c, z, y', x): the slices as the axial direction would show them, and the sharp ones
    over the same rows
    """
    blurred = ndimage.convolve(sharp, axial_blur(data)[None, None], mode="nearest")
    n_slices = _n_slices(sharp.shape[2], data.factor)
    slices = at_places(blurred, np.arange(n_slices) * data.factor, axis=2)
    if data.poisson:
        slices = rng.poisson(np.clip(slices, 0, None)).astype(np.float32)
    if data.gauss_sigma_counts:
        slices = slices + rng.normal(0, data.gauss_sigma_counts, slices.shape).astype(np.float32)
    slices = np.clip(slices, 0, None)
    n_rows = math.floor((n_slices - 1) * data.factor) + 1
    return at_places(slices, np.arange(n_rows) / data.factor, axis=2), sharp[:, :, :n_rows]


def subsampled(sharp: Pixels, *, axis: int, factor: float) -> tuple[Pixels, Pixels]:
    """Keep every factor-th plane and interpolate the others; returns that and the sharp planes it covers."""
    n_planes = _n_slices(sharp.shape[axis], factor)
    planes = at_places(sharp, np.arange(n_planes) * factor, axis=axis)
    n_fine = math.floor((n_planes - 1) * factor) + 1
    return at_places(planes, np.arange(n_fine) / factor, axis=axis), np.take(sharp, range(n_fine), axis=axis)


def at_places(image: Pixels, places: NDArray[np.floating[Any]], *, axis: int) -> Pixels:
    """Interpolate an image linearly at places along one axis, in pixels; they need not be whole."""
    below = np.clip(places.astype(int), 0, max(image.shape[axis] - 2, 0))
    share = np.asarray(places - below, np.float32).reshape(-1, *[1] * (image.ndim - axis - 1))
    lower, upper = np.take(image, below, axis=axis), np.take(image, below + 1, axis=axis, mode="clip")
    return np.asarray(lower * (1 - share) + upper * share, np.float32)


def axial_blur(data: IsotropicData) -> Pixels:
    """Return the axial point spread function turned into the plane, (y, x), sum 1."""
    if data.psf is not None:
        pixels = np.asarray(volumes.open_tiff(data.psf), np.float32)
        if pixels.ndim != 3 or pixels.max() <= 0:
            raise TrainingError(f"{data.psf} is no point spread function: wanted ZYX pixels, got {pixels.shape}")
        turned: Any = pixels[:, pixels.shape[1] // 2]
    else:
        axial, lateral = data.psf_sigma_px
        sigma = math.sqrt(max(axial**2 - lateral**2, 1e-6))
        turned = signal.windows.gaussian(2 * math.ceil(3 * sigma) + 1, sigma)[:, None]
    return np.asarray(turned / turned.sum(), np.float32)


def _n_slices(n_rows: int, factor: float) -> int:
    n = math.floor((n_rows - 1) / factor) + 1
    if n < 3:
        raise TrainingError(f"{n_rows} rows give only {n} slices at factor {factor}: use larger volumes")
    return n
