"""Blurred particles, drawn ahead: a plane is a sum of stamps.

Convolving a volume with a point spread function for every time point would be far too slow for a live
camera. Convolution is linear, so each shape is blurred once, at a few sub-pixel phases and many distances
from focus; drawing a plane then adds a few hundred small stamps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from care_live.simulate.grid import Grid
from care_live.simulate.psf import Psf, kernel
from care_live.simulate.specimen import Particles, Profile

_Z_STEP_UM = 0.25
_FINEST_UM = 0.125


@dataclass(frozen=True, slots=True, eq=False)
class Stamps:
    """Every shape of a specimen as the microscope shows it, at one pixel size."""

    pixels: NDArray[np.float32]
    """(profile, distance from focus, phase y, phase x, y, x), density, averaged over each pixel."""
    pixel_um: float

    @property
    def half_px(self) -> int:
        return int(self.pixels.shape[-1] // 2)

    @property
    def n_phases(self) -> int:
        return int(self.pixels.shape[2])

    def draw(self, particles: Particles, plane: Grid) -> NDArray[np.float32]:
        """Add up what all particles contribute to one plane.

        Parameters
        ----------
        particles : positions in the space of ``plane``
        plane : a grid of one plane, with the pixel size these stamps were made for

        Returns
        -------
        (y, x) float32 density
        """
        fine_um = self.pixel_um / self.n_phases
        offset_um = particles.position_um - np.asarray(plane.origin_um)
        focus = np.rint(-offset_um[:, 0] / _Z_STEP_UM).astype(np.intp) + self.pixels.shape[1] // 2
        pixel, phase = np.divmod(np.rint(offset_um[:, 1:] / fine_um + (self.n_phases - 1) / 2), self.n_phases)
        pixel, phase = pixel.astype(np.intp), phase.astype(np.intp)
        seen = (focus >= 0) & (focus < self.pixels.shape[1])
        seen &= np.all((pixel >= -self.half_px) & (pixel < np.array(plane.shape_px[1:]) + self.half_px), axis=1)
        chosen = self.pixels[particles.profile[seen], focus[seen], phase[seen, 0], phase[seen, 1]]
        return self._add(chosen * particles.brightness[seen, None, None], pixel[seen], plane.shape_px[1:])

    def _add(
        self, stamps: NDArray[np.float32], pixel: NDArray[np.intp], shape_px: tuple[int, int]
    ) -> NDArray[np.float32]:
        half = self.half_px
        ny, nx = shape_px[0] + 4 * half, shape_px[1] + 4 * half  # a margin, so that no stamp needs cutting
        spot = np.arange(2 * half + 1)
        corner = (pixel[:, 0] + half) * nx + pixel[:, 1] + half
        target = corner[:, None, None] + spot[:, None] * nx + spot
        canvas = np.bincount(target.ravel(), stamps.ravel(), minlength=ny * nx).reshape(ny, nx)
        inner = canvas[2 * half : 2 * half + shape_px[0], 2 * half : 2 * half + shape_px[1]]
        return inner.astype(np.float32)


@lru_cache(maxsize=8)
def make(profiles: tuple[Profile, ...], psf: Psf | None, pixel_um: float) -> Stamps:
    """Blur every profile with a point spread function.

    Parameters
    ----------
    profiles : shapes of a specimen
    psf : None draws the fluorophores themselves, unblurred
    pixel_um : edge of a camera pixel in the specimen

    Raises
    ------
    ConfigError
        psfmodels is needed and not installed.
    """
    n_phases = int(np.clip(round(pixel_um / _FINEST_UM), 1, 4))
    fine_um = pixel_um / n_phases
    radius_um = max(profile.radius_um + profile.edge_um for profile in profiles)
    axial_um, lateral_um = psf.reach_um if psf else (0.0, 0.0)
    half_px = int(np.ceil((radius_um + lateral_um) / pixel_um))
    half_z = int(np.ceil((radius_um + axial_um) / _Z_STEP_UM))
    z_um = np.float64(_Z_STEP_UM) * np.arange(-half_z, half_z + 1)
    reach = n_phases * half_px + n_phases - 1
    x_um = np.float64(fine_um) * np.arange(-reach, reach + 1)
    blur = kernel(psf, (_Z_STEP_UM, fine_um, fine_um)) if psf else np.ones((1, 1, 1), np.float32)
    drawn = [_phases(convolve(profile.density(z_um, x_um, x_um), blur), n_phases) for profile in profiles]
    return Stamps(np.stack(drawn), pixel_um)


def convolve(volume: NDArray[np.float32], blur: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve n-D pixels with an odd-sized kernel whose middle is its origin; zeros lie outside."""
    if blur.size == 1:
        return volume * blur.item()
    shape = tuple(_fast_length(n + m - 1) for n, m in zip(volume.shape, blur.shape, strict=True))
    axes = tuple(range(volume.ndim))
    whole = np.fft.irfftn(np.fft.rfftn(volume, shape, axes) * np.fft.rfftn(blur, shape, axes), shape, axes)
    middle = tuple(slice(m // 2, m // 2 + n) for n, m in zip(volume.shape, blur.shape, strict=True))
    return np.asarray(np.maximum(whole[middle], 0), np.float32)


def _fast_length(n: int) -> int:
    """Return the smallest length from ``n`` on that has only the factors 2, 3 and 5."""
    rest = n
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    return n if rest == 1 else _fast_length(n + 1)


def _phases(fine: NDArray[np.float32], n_phases: int) -> NDArray[np.float32]:
    """Average fine samples over camera pixels, for every sub-pixel place of the particle.

    Returns
    -------
    (z, phase y, phase x, y, x) float32
    """
    for axis in (1, 2):
        windows = np.lib.stride_tricks.sliding_window_view(fine, n_phases, axis=axis)
        fine = windows.mean(axis=-1, dtype=np.float32)
    starts = range(n_phases - 1, -1, -1)  # a particle that sits further right shifts its stamp right
    return np.stack([np.stack([fine[:, y::n_phases, x::n_phases] for x in starts], 1) for y in starts], 1)
