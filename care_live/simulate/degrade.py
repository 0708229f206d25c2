"""Make a sharp image as bad as a microscope would: training inputs without a second recording.

*Isotropic*: lateral slices are sharp, axial ones are not. Take a lateral slice as the truth, blur it along y as
the microscope blurs z, add noise, keep every factor-th row and interpolate the rows in between, as the restorer
will do with planes. *Deconvolution*: generate thin structures, look at them through the microscope.

References
----------
Weigert et al., "Isotropic reconstruction of 3D fluorescence microscopy images using convolutional neural
networks", MICCAI 2017; Weigert et al., Nature Methods 15, 1090 (2018), figures 3 and 4.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError
from care_live.simulate import noise, stamps
from care_live.simulate.grid import Grid, linear_weights
from care_live.simulate.microscope import sensor
from care_live.simulate.psf import SPINNING_DISK, Psf, kernel
from care_live.simulate.stamps import convolve
from care_live.simulate.structures import Box, Granules, Tubules

Pixels = NDArray[np.float32]

_RADIUS_UM = 0.1
_FLATTENED = 0.2
"""How many times smaller the structures' heights are than in a thick specimen: a thin layer in focus."""
_BACKGROUND = 2.0
"""Times the structures' `haze`, about 0.03: the background is some 6 % of the peak."""
_MOST_TABLED = 1e6
"""Electrons; above this photon noise is far below anything else."""


def turned_psf(psf: Psf, pixel_um: float) -> Pixels:
    """Turn a point spread function into the plane: along y what is along z, seen from the side.

    Parameters
    ----------
    psf : of the microscope
    pixel_um : edge of the (square) pixels of the slice to be blurred

    Returns
    -------
    (y, x) float32, odd sizes, sum 1

    Raises
    ------
    ConfigError
        psfmodels is needed and not installed.
    """
    from_the_side = kernel(psf, (pixel_um, pixel_um, pixel_um)).sum(axis=1)
    return np.asarray(from_the_side / from_the_side.sum(), np.float32)


def anisotropic(
    sharp: Pixels,
    psf: Pixels,
    factor: float,
    *,
    rng: np.random.Generator,
    first: float = 0.0,
    counts_per_electron: float = 0.0,
    gauss_counts: float = 0.0,
) -> Pixels:
    """Degrade lateral slices along y as the microscope degrades a stack along z.

    Parameters
    ----------
    sharp : (…, y, x) float32, background near 0
    psf : (y, x), from `turned_psf`
    factor : distance of planes in pixels; any number above 1, such as 10.2
    rng : for the noise
    first : row of the first plane that is left, at least 0 and below ``factor``; the next follow every ``factor``
    counts_per_electron : how many counts of ``sharp`` one photo-electron is, for photon noise; 0: none
    gauss_counts : standard deviation of the read noise, in counts of ``sharp``

    Returns
    -------
    (…, y, x) float32, same shape: row i is interpolated between the planes that are left; above the first and
    below the last it is theirs

    Raises
    ------
    ConfigError
        The slices have fewer than two planes after that.
    """
    seen = blur(sharp, psf)
    noisy = photon_noise(seen, rng, counts_per_electron=counts_per_electron, gauss_counts=gauss_counts)
    return _seen_at(noisy, np.arange(first, sharp.shape[-2] - 1 + 1e-6, factor))


def blur(image: Pixels, psf: Pixels) -> Pixels:
    """Convolve (…, y, x) with a (y, x) kernel; what lies outside mirrors what lies inside."""
    margin = [size // 2 for size in psf.shape]
    sides = [(0, 0)] * (image.ndim - 2) + [(width, width) for width in margin]
    padded = np.pad(image, sides, mode="symmetric")
    flat = padded.reshape(-1, *padded.shape[-2:])
    inner = tuple(slice(width, width + n) for width, n in zip(margin, image.shape[-2:], strict=True))
    return np.stack([convolve(plane, psf)[inner] for plane in flat]).reshape(image.shape)


def photon_noise(
    image: Pixels, rng: np.random.Generator, *, counts_per_electron: float = 1.0, gauss_counts: float = 0.0
) -> Pixels:
    """Add Poisson noise (0 counts per electron: none) and Gaussian noise to expected counts."""
    noisy = np.maximum(image, 0).astype(np.float32)
    if counts_per_electron > 0:
        electrons = np.minimum(noisy / np.float32(counts_per_electron), np.float32(_MOST_TABLED))
        noisy = noise.poisson(electrons, rng) * np.float32(counts_per_electron)
    if gauss_counts > 0:
        noisy += np.float32(gauss_counts) * noise.normal(noisy.shape, rng)
    return noisy


def thin_out(image: Pixels, factor: float) -> Pixels:
    """Keep round(rows / factor) rows, first and last among them; rows at broken places are interpolated.

    Raises
    ------
    ConfigError
        Fewer than two rows would be left.
    """
    n_rows = image.shape[-2]
    n_kept = round(n_rows / factor)
    if n_kept < 2:
        raise ConfigError(
            f"{n_rows} rows thinned out {factor} times leave {n_kept}; wanted at least 2, use larger slices"
        )
    return _interpolate_rows(image, n_kept)


def _seen_at(image: Pixels, places: NDArray[np.float64]) -> Pixels:
    """Keep the rows at some places, broken or whole, and interpolate all others between them."""
    rows = np.arange(image.shape[-2], dtype=np.float64)
    if len(places) < 2:
        raise ConfigError(f"{len(rows)} rows hold {len(places)} planes; wanted at least 2, use larger slices")
    back, kept = linear_weights(rows, places), linear_weights(places, rows)
    return np.asarray(back @ kept @ image, np.float32)


def restack(image: Pixels, n_rows: int) -> Pixels:
    """Interpolate linearly to ``n_rows`` rows, first and last stay: what the restorer does with planes."""
    return _interpolate_rows(image, n_rows)


def _interpolate_rows(image: Pixels, n_rows: int) -> Pixels:
    places = np.linspace(0, image.shape[-2] - 1, n_rows)
    weights = linear_weights(places, np.arange(image.shape[-2], dtype=np.float64))
    return np.asarray(weights @ image, np.float32)


class ThinLayer(NamedTuple):
    """Thin structures twice, without noise."""

    sharp: Pixels
    """(y, x) fluorophores, projected along z, as no microscope could see them; at least 0."""
    seen: Pixels
    """(y, x) what the microscope makes of them, over an uneven background; about 1 at the brightest pixels."""


class SharpPair(NamedTuple):
    """One image twice."""

    sharp: Pixels
    """(y, x) fluorophores over the background, projected along z, as no microscope could see them; at least 0."""
    blurred: NDArray[np.uint16]
    """(y, x) camera counts."""


def thin_layer(
    seed: int,
    shape_px: tuple[int, int] = (256, 256),
    *,
    specimen: Literal["tubules", "granules"] = "tubules",
    pixel_um: float = 0.1,
    psf: Psf = SPINNING_DISK,
) -> ThinLayer:
    """Generate thin structures in a thin layer and what a microscope makes of them.

    Parameters
    ----------
    seed : the same seed is the same layer
    pixel_um : small against the point spread function
    psf : blurs the structures; the background of low-frequency Perlin noise it would not change

    Raises
    ------
    ConfigError
        psfmodels is needed and not installed.
    """
    grid = Grid.centred((1, *shape_px), (1.0, pixel_um, pixel_um))
    t_s = float(np.random.default_rng((0xDEC0, seed)).uniform(0, 100))
    layer = _layer(seed, grid, specimen)
    drawn = layer.particles(t_s)
    flat = replace(drawn, position_um=drawn.position_um * (0, 1, 1))
    sharp = stamps.make(layer.profiles, None, pixel_um).draw(flat, grid)
    thin = replace(drawn, position_um=drawn.position_um * (_FLATTENED, 1, 1))
    seen = stamps.make(layer.profiles, psf, pixel_um).draw(thin, grid)
    seen /= np.float32(max(float(np.quantile(seen, 0.999)), 1e-6))
    return ThinLayer(sharp, seen + layer.haze(grid, t_s) * np.float32(_BACKGROUND))


def deconvolution_pair(
    seed: int,
    shape_px: tuple[int, int] = (256, 256),
    *,
    specimen: Literal["tubules", "granules"] = "tubules",
    pixel_um: float = 0.1,
    psf: Psf = SPINNING_DISK,
    peak_electrons: float = 100.0,
) -> SharpPair:
    """Generate a thin layer, see `thin_layer`, and what the camera sees of it.

    Parameters
    ----------
    peak_electrons : photo-electrons of the brightest pixels

    Raises
    ------
    ConfigError
        psfmodels is needed and not installed.
    """
    layer = thin_layer(seed, shape_px, specimen=specimen, pixel_um=pixel_um, psf=psf)
    electrons = layer.seen * np.float32(peak_electrons)
    return SharpPair(layer.sharp, sensor(shape_px, seed).expose(electrons, noise.generator(0xDEC1, seed)))


def _layer(seed: int, grid: Grid, specimen: str) -> Granules | Tubules:
    _, y_um, x_um = grid.extent_um
    box = Box((2.0, y_um + 4.0, x_um + 4.0))
    if specimen == "granules":
        return Granules(seed, box, per_1000_um3=300.0, radius_um=_RADIUS_UM)
    return Tubules(seed, box, per_1000_um3=20.0, radius_um=_RADIUS_UM)
