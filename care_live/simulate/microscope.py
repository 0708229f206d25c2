"""The microscope: light in, blur, photo-electrons, and a scientific CMOS camera's counts.

The unit of dose is one low-light exposure (laser power 1, 10 ms), which gives bright nuclei about 20
photo-electrons; laser power 60 is the bright reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from care_live.simulate import noise, stamps
from care_live.simulate.grid import Grid
from care_live.simulate.psf import SPINNING_DISK, Psf
from care_live.simulate.specimen import Specimen

Pixels = NDArray[np.float32]

ELECTRONS_PER_DENSITY = 12.0
"""Photo-electrons that fluorophore density 1 gives in one low-light exposure."""
LOW_LIGHT_MS = 10.0
FULL_SCALE = 65535
NOMINAL_OFFSET = 100.0
NOMINAL_GAIN = 2.17
_BLOCK_PX = 1 << 16
"""Pixels that noise is drawn for at a time: they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Light:
    """How one plane is lit."""

    laser_power: float = 1.0
    """Relative; 1 is low light, 60 the bright reference."""
    exposure_ms: float = LOW_LIGHT_MS
    earlier_dose: float = 0.0
    """What the specimen got before, in low-light exposures: it bleaches."""

    @property
    def dose(self) -> float:
        """Light of this exposure, in low-light exposures."""
        return self.laser_power * self.exposure_ms / LOW_LIGHT_MS


@dataclass(frozen=True, slots=True, eq=False)
class Sensor:
    """A scientific CMOS camera: every pixel has an offset, a gain and a read noise of its own."""

    offset: Pixels
    """(y, x), counts."""
    gain: Pixels
    """(y, x), counts per electron."""
    read_noise: Pixels
    """(y, x), electrons, standard deviation."""
    dark_electrons: float = 0.15
    """Mean dark signal of one frame."""

    def expose(self, electrons: Pixels, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Return one noisy frame.

        Parameters
        ----------
        electrons : (y, x) expected photo-electrons
        rng : decides the noise of this frame, see `noise.generator`
        """
        frame = np.empty(electrons.shape, np.uint16)
        n_rows = max(1, _BLOCK_PX // electrons.shape[1])
        for first in range(0, len(frame), n_rows):
            rows = slice(first, first + n_rows)
            signal = noise.poisson(electrons[rows] + np.float32(self.dark_electrons), rng)
            signal += self.read_noise[rows] * noise.normal(signal.shape, rng)
            signal *= self.gain[rows]
            signal += self.offset[rows] + np.float32(0.5)
            frame[rows] = np.clip(signal, 0, FULL_SCALE)
        return frame

    def expected_counts(self, electrons: Pixels) -> Pixels:
        """Return what `expose` gives in the mean, without the pixels' own quirks: nominal offset and gain."""
        offset, gain = np.float32(NOMINAL_OFFSET), np.float32(NOMINAL_GAIN)
        return np.asarray(offset + gain * (electrons + np.float32(self.dark_electrons)), np.float32)


@lru_cache(maxsize=8)
def sensor(shape_px: tuple[int, int], seed: int) -> Sensor:
    """Make the camera with this serial number (seed)."""
    rng = noise.generator(0x5C05, seed)
    offset, gain, read_noise = (rng.standard_normal(shape_px, np.float32) for _ in range(3))
    return Sensor(
        offset=np.float32(NOMINAL_OFFSET) + np.float32(1.5) * offset,
        gain=np.float32(NOMINAL_GAIN) * (1 + np.float32(0.01) * gain),
        read_noise=np.float32(1.6) * np.exp(np.float32(0.3) * read_noise),
    )


@dataclass(frozen=True)
class Microscope:
    """Looks at one specimen through one objective."""

    specimen: Specimen
    psf: Psf | None = SPINNING_DISK
    """None: no blur, the fluorophores themselves."""
    bleach_dose: float = 20_000.0
    """Low-light exposures after which the fluorescence has fallen to 1/e; infinity: it never bleaches."""

    def prepare(self, pixel_um: float) -> None:
        """Blur the specimen's particles for one pixel size, which otherwise the first plane has to wait for."""
        stamps.make(self.specimen.profiles, self.psf, pixel_um)

    def density(self, plane: Grid, t_s: float, channel: int = 0) -> Pixels:
        """Return the blurred fluorophore density in one plane, (y, x) float32, neither lit nor bleached.

        Raises
        ------
        ConfigError
            A computed point spread function needs psfmodels, or square pixels.
        """
        blurred = stamps.make(self.specimen.profiles, self.psf, plane.voxel_size_um[2])
        drawn = blurred.draw(self.specimen.particles(t_s, channel), plane)
        drawn += self.specimen.haze(plane, t_s, channel)
        return drawn

    def electrons(self, plane: Grid, t_s: float, light: Light, channel: int = 0) -> Pixels:
        """Return the expected photo-electrons of one plane, bleaching included, (y, x) float32."""
        alive = np.exp(-light.earlier_dose / self.bleach_dose)
        return self.density(plane, t_s, channel) * np.float32(ELECTRONS_PER_DENSITY * light.dose * alive)

    def truth(self, grid: Grid, t_s: float, light: Light, channel: int = 0) -> Pixels:
        """Return the noise-free photo-electrons of a whole volume at one moment.

        Bleaching counts as it was at ``light.earlier_dose`` for all planes alike; 0 is the unbleached truth.

        Returns
        -------
        (z, y, x) float32
        """
        return np.stack([self.electrons(grid.plane(z), t_s, light, channel) for z in range(grid.shape_px[0])])
