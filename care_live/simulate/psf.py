"""Point spread functions in real sizes: computed from an objective, Gaussian, or measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError
from care_live.imports import installed, need
from care_live.simulate.disk_cache import kept
from care_live.simulate.grid import linear_weights

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Objective:
    """A spinning-disk confocal objective; the defaults are a silicone immersion lens for live worms."""

    numerical_aperture: float = 1.05
    immersion_index: float = 1.406
    excitation_um: float = 0.488
    emission_um: float = 0.525
    pinhole_airy: float = 1.0
    reach_um: tuple[float, float] = (2.5, 0.9)
    """(axial, lateral) half size that is kept."""


@dataclass(frozen=True, slots=True)
class GaussianSpot:
    """A Gaussian point spread function of given widths."""

    axial_fwhm_um: float = 1.6
    lateral_fwhm_um: float = 0.35

    @property
    def reach_um(self) -> tuple[float, float]:
        return 1.5 * self.axial_fwhm_um, 1.5 * self.lateral_fwhm_um


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A point spread function from a bead stack; its median is taken for the background."""

    pixels: Pixels
    """(z, y, x); the focus is the centroid of what rises above half the maximum, mostly between two voxels."""
    voxel_size_um: tuple[float, float, float]
    most_um: tuple[float, float] = (6.0, 3.0)
    """(axial, lateral) half size that is kept at most; blurring takes time in proportion."""

    @property
    def reach_um(self) -> tuple[float, float]:
        nz, ny, nx = ((n - 1) / 2 * step for n, step in zip(self.pixels.shape, self.voxel_size_um, strict=True))
        return min(nz, self.most_um[0]), min(ny, nx, self.most_um[1])


Psf = Objective | GaussianSpot | Measured

SPINNING_DISK = Objective()


@lru_cache(maxsize=16)
def kernel(psf: Psf, voxel_size_um: tuple[float, float, float]) -> Pixels:
    """Sample a point spread function on a grid.

    Parameters
    ----------
    psf : computed, Gaussian or measured
    voxel_size_um : (z, y, x) of the samples

    Returns
    -------
    (z, y, x) float32, odd sizes, the focus in the middle, sum 1, read-only

    Raises
    ------
    ConfigError
        An `Objective` without psfmodels installed, or one whose y and x sampling differ.
    """
    half_px = [max(1, round(reach / step)) for reach, step in zip(_reach(psf), voxel_size_um, strict=True)]
    axes = [np.float64(step) * np.arange(-n, n + 1) for n, step in zip(half_px, voxel_size_um, strict=True)]
    match psf:
        case Objective():
            drawn = _confocal(psf, axes, voxel_size_um)
        case GaussianSpot():
            drawn = _gaussian(psf, axes)
        case Measured():
            drawn = _resampled(psf, axes)
    normed = np.asarray(drawn / drawn.sum(), np.float32)
    normed.setflags(write=False)
    return normed


def _reach(psf: Psf) -> tuple[float, float, float]:
    axial, lateral = psf.reach_um
    return axial, lateral, lateral


def _confocal(psf: Objective, axes: list[NDArray[np.float64]], voxel_size_um: tuple[float, float, float]) -> Pixels:
    if not np.isclose(voxel_size_um[1], voxel_size_um[2]):
        raise ConfigError(f"pixels of {voxel_size_um[1:]} um are not square; a computed PSF needs square ones")
    n_z, n_px = len(axes[0]), len(axes[2])
    step_um = tuple(map(float, voxel_size_um))
    what = f"{psf} {n_z}x{n_px} steps {step_um} psfmodels {installed('psfmodels', extra='mm')}"
    return kept(what, lambda: _drawn(psf, axes[0], n_px, step_um[2]))  # importing it alone takes two seconds


def _drawn(psf: Objective, z_um: NDArray[np.float64], n_px: int, pixel_um: float) -> Pixels:
    drawn = need("psfmodels", extra="mm").confocal_psf(
        z=z_um,
        nx=n_px,
        dxy=pixel_um,
        NA=psf.numerical_aperture,
        ni=psf.immersion_index,
        ni0=psf.immersion_index,
        ns=psf.immersion_index,  # no mismatch: the function is the same at every depth
        ex_wvl=psf.excitation_um,
        em_wvl=psf.emission_um,
        pinhole_au=psf.pinhole_airy,
        model="scalar",
    )
    return np.asarray(drawn, np.float32)


def _gaussian(psf: GaussianSpot, axes: list[NDArray[np.float64]]) -> Pixels:
    per_fwhm = 2 * np.sqrt(2 * np.log(2))
    widths = [psf.axial_fwhm_um / per_fwhm] + [psf.lateral_fwhm_um / per_fwhm] * 2
    z, y, x = (np.exp(-((axis / width) ** 2) / 2) for axis, width in zip(axes, widths, strict=True))
    return np.asarray(z[:, None, None] * y[:, None] * x, np.float32)


def _resampled(psf: Measured, axes: list[NDArray[np.float64]]) -> Pixels:
    pixels = np.clip(psf.pixels - np.median(psf.pixels), 0, None)
    core = np.clip(pixels - pixels.max() / 2, 0, None)
    focus = [float((core * places).sum() / core.sum()) for places in np.indices(core.shape)]
    for axis, (places, middle, step) in enumerate(zip(axes, focus, psf.voxel_size_um, strict=True)):
        weights = linear_weights(places, np.float64(step) * (np.arange(pixels.shape[axis]) - middle))
        pixels = np.moveaxis(np.tensordot(weights, pixels, (1, axis)), 0, axis)
    return np.asarray(pixels, np.float32)
