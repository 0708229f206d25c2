"""Blurred particles, drawn ahead: a plane is a sum of stamps.

Convolving a volume with a point spread function for every time point would be far too slow for a live
camera. Convolution is linear, so each shape is blurred once, at a few sub-pixel phases and many distances
from focus; drawing a plane then adds a few hundred small stamps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from care_live.simulate.grid import Grid
from care_live.simulate.psf import Psf, kernel
from care_live.simulate.specimen import Particles, Profile

Pixels = NDArray[np.float32]

_Z_STEP_UM = 0.25
_FINEST_UM = 0.125


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """Profiles of one size as the microscope shows them, at one pixel size."""

    profiles: tuple[int, ...]
    """Which profiles of the specimen, consecutive."""
    pixels: Pixels
    """(profile, distance from focus, phase y, phase x, y, x), density, averaged over each pixel."""
    pixel_um: float

    def choose(self, particles: Particles, plane: Grid) -> tuple[NDArray[np.intp], Pixels]:
        """Return the stamps of its particles that touch a plane.

        Returns
        -------
        (n, 2) pixel (y, x) of each stamp's middle and (n, y, x) the stamps
        """
        n_z, n_phases = self.pixels.shape[1:3]
        half_px = self.pixels.shape[-1] // 2
        here = (particles.profile >= self.profiles[0]) & (particles.profile <= self.profiles[-1])
        focus = np.rint((plane.origin_um[0] - particles.position_um[:, 0]) / _Z_STEP_UM).astype(np.intp) + n_z // 2
        mine = np.flatnonzero(here & (focus >= 0) & (focus < n_z))
        offset_um = particles.position_um[mine, 1:] - np.asarray(plane.origin_um[1:])
        fine = np.rint(offset_um * (n_phases / self.pixel_um) + (n_phases - 1) / 2).astype(np.intp)
        pixel, phase = np.divmod(fine, n_phases)
        seen = np.all((pixel >= -half_px) & (pixel < np.array(plane.shape_px[1:]) + half_px), axis=1)
        mine, pixel, phase = mine[seen], pixel[seen], phase[seen]
        profile = particles.profile[mine] - self.profiles[0]
        stamps = self.pixels[profile, focus[mine], phase[:, 0], phase[:, 1]]
        return pixel, stamps * particles.brightness[mine, None, None]


@dataclass(frozen=True, slots=True, eq=False)
class Stamps:
    """Every shape of a specimen, by size: small ones need small stamps."""

    sheets: tuple[Sheet, ...]

    def draw(self, particles: Particles, plane: Grid) -> Pixels:
        """Add up what all particles contribute to one plane.

        Parameters
        ----------
        particles : positions in the space of ``plane``
        plane : a grid of one plane, with the pixel size these stamps were made for

        Returns
        -------
        (y, x) float32 density
        """
        _, ny, nx = plane.shape_px
        margin = max(sheet.pixels.shape[-1] for sheet in self.sheets)  # so that no stamp needs cutting
        width = nx + 2 * margin
        targets, weights = [], []
        for sheet in self.sheets:
            pixel, stamps = sheet.choose(particles, plane)
            spot = np.arange(stamps.shape[-1]) - stamps.shape[-1] // 2 + margin
            middle = pixel[:, 0] * width + pixel[:, 1]
            targets.append((middle[:, None, None] + spot[:, None] * width + spot).ravel())
            weights.append(stamps.ravel())
        canvas = np.bincount(np.concatenate(targets), np.concatenate(weights), (ny + 2 * margin) * width)
        return canvas.reshape(-1, width)[margin:-margin, margin:-margin].astype(np.float32)


@lru_cache(maxsize=8)
def make(profiles: tuple[Profile, ...], psf: Psf | None, pixel_um: float) -> Stamps:
    """Blur every profile with a point spread function.

    Parameters
    ----------
    profiles : shapes of a specimen, those of one size next to each other
    psf : None draws the fluorophores themselves, unblurred
    pixel_um : edge of a camera pixel in the specimen

    Raises
    ------
    ConfigError
        psfmodels is needed and not installed.
    """
    by_size = groupby(range(len(profiles)), key=lambda index: profiles[index].reach_um)
    return Stamps(tuple(_sheet(profiles, tuple(same), psf, pixel_um) for _, same in by_size))


def _sheet(profiles: tuple[Profile, ...], same: tuple[int, ...], psf: Psf | None, pixel_um: float) -> Sheet:
    n_phases = int(np.clip(round(pixel_um / _FINEST_UM), 1, 4))
    fine_um = pixel_um / n_phases
    axial_um, lateral_um = psf.reach_um if psf else (0.0, 0.0)
    half_px = int(np.ceil((profiles[same[0]].reach_um + lateral_um) / pixel_um))
    half_z = int(np.ceil((profiles[same[0]].reach_um + axial_um) / _Z_STEP_UM))
    z_um = np.float64(_Z_STEP_UM) * np.arange(-half_z, half_z + 1)
    reach = n_phases * half_px + n_phases - 1
    x_um = np.float64(fine_um) * np.arange(-reach, reach + 1)
    blur = kernel(psf, (_Z_STEP_UM, fine_um, fine_um)) if psf else np.ones((1, 1, 1), np.float32)
    drawn = [_phases(convolve(profiles[index].density(z_um, x_um, x_um), blur), n_phases) for index in same]
    return Sheet(same, np.stack(drawn), pixel_um)


def convolve(volume: Pixels, blur: Pixels) -> Pixels:
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


def _phases(fine: Pixels, n_phases: int) -> Pixels:
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
