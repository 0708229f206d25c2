"""Forms of every kind, cut out of random fields: for networks that must restore specimens without a description.

The level sets of a smooth random field look like tissue: above a level lie bodies, along it closed shells,
where two fields cross it together run threads, and the peaks of a fine field are grains. Inside they are rough,
with a power spectrum of any slope: who has only seen smooth bodies smooths them. Size, sharpness, texture,
brightness, haze, blur and the sampling along z are drawn anew for every volume, each over a wide range, so that
a network can rely on none of them. It is better to give the voxel size where it is known: how much neighbouring planes
have in common is then known, too.

References
----------
Achddou, Gousseau, Ladjal, "Synthetic images as a regularity prior for image restoration neural networks",
SSVM 2021, who learn to denoise photographs from random shapes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

MARGIN_PX = 4
"""Cut off on every side: Fourier space is a torus."""
_SIGMA_PER_SIZE = 0.39
_PIXEL = 0.29
"""Standard deviation of a square one pixel wide."""


def draw_forms(
    seed: int, shape_px: tuple[int, int, int], voxel_size_um: tuple[float, float, float] | None = None
) -> Pixels:
    """Return one volume of forms, blurred as by a microscope.

    Parameters
    ----------
    seed : the same seed is the same volume
    shape_px : (z, y, x)
    voxel_size_um : (z, y, x), pixels are square; the blur is then that of a confocal microscope. None: any sampling
        and any blur

    Returns
    -------
    (z, y, x) float32, at least 0, and 1 at its 99.9th percentile
    """
    rng = np.random.default_rng((0xF0A5, seed))
    canvas = Canvas.at(rng, shape_px, voxel_size_um)
    layers = [log_uniform(rng, 0.1, 1.0) * _layer(canvas) for _ in range(int(rng.integers(1, 4)))]
    seen = bright_is_one(canvas.blur(np.sum(layers, axis=0)))
    haze = np.float32(log_uniform(rng, 0.003, 0.3)) * canvas.uneven(60.0, 0.5)
    inner = (slice(MARGIN_PX, -MARGIN_PX),) * 3
    return bright_is_one((seen + haze)[inner])


@dataclass(frozen=True, slots=True)
class Canvas:
    """What all fields of one volume share."""

    rng: np.random.Generator
    shape_px: tuple[int, int, int]
    flatness: float
    """Distance of planes over pixel size; below 1 the planes are the denser ones."""
    pixel_um: float | None = None
    """None: unknown."""

    @classmethod
    def at(
        cls,
        rng: np.random.Generator,
        shape_px: tuple[int, int, int],
        voxel_size_um: tuple[float, float, float] | None,
    ) -> Self:
        """Return a canvas for a volume and its margin; without a voxel size, at a sampling that is drawn."""
        z, y, x = (size + 2 * MARGIN_PX for size in shape_px)
        if voxel_size_um is None:
            return cls(rng, (z, y, x), flatness=log_uniform(rng, 0.4, 4.0))
        return cls(rng, (z, y, x), voxel_size_um[0] / voxel_size_um[2], voxel_size_um[2])

    def field(self, size_px: float) -> Pixels:
        """Return a smooth random field whose lateral features are so large; mean 0, variance 1."""
        return self._passed(np.exp(-2 * (math.pi * _SIGMA_PER_SIZE * size_px) ** 2 * self._square_waves()))

    def texture(self, size_px: float, slope: float) -> Pixels:
        """Return a random field as rough as tissue is; mean 0, variance 1.

        Up to features of ``size_px`` all are alike in power; in finer ones it falls with frequency to the ``slope``.
        """
        return self._passed((1 + np.float32(size_px**2) * self._square_waves()) ** np.float32(-slope / 4))

    def _square_waves(self) -> Pixels:
        """Return the square of the spatial frequency, in waves per pixel in the plane."""
        z, y, x = (np.fft.fftfreq(size).astype(np.float32) for size in self.shape_px)
        x = x[: self.shape_px[2] // 2 + 1]
        return np.asarray((z / self.flatness)[:, None, None] ** 2 + y[:, None] ** 2 + x**2, np.float32)

    def _passed(self, transfer: Pixels) -> Pixels:
        """Send white noise through a filter that is given in Fourier space."""
        white = self.rng.standard_normal(self.shape_px, np.float32)
        spectrum = np.fft.rfftn(white) * transfer.astype(np.float32)
        passed = np.fft.irfftn(spectrum, self.shape_px, axes=(0, 1, 2))
        return np.asarray((passed - passed.mean()) / passed.std(), np.float32)

    def uneven(self, size_px: float, strength: float) -> Pixels:
        """Return a positive factor that varies on the scale of ``size_px``, log-normally by ``strength``."""
        return np.asarray(np.exp(np.float32(strength) * self.field(size_px)), np.float32)

    def rough(self) -> Pixels:
        """Return a positive factor like the inside of a cell: of any fineness, faint to clumpy."""
        texture = self.texture(log_uniform(self.rng, 3.0, 40.0), self.rng.uniform(1.0, 4.5))
        return np.asarray(np.exp(np.float32(self.rng.uniform(0.1, 1.2)) * texture), np.float32)

    def blur(self, volume: Pixels) -> Pixels:
        """Blur as a microscope does, never narrower along z than in the plane."""
        lateral, axial = self._any_spot() if self.pixel_um is None else self._confocal_spot(self.pixel_um)
        return np.asarray(np.maximum(blurred(volume, (axial, lateral, lateral)), 0))

    def _any_spot(self) -> tuple[float, float]:
        """Draw the widths of a point spread function, (in pixels, in planes), standard deviations."""
        lateral = log_uniform(self.rng, 0.35, 1.6)
        return lateral, lateral * log_uniform(self.rng, 1.0, 4.0) / self.flatness

    def _confocal_spot(self, pixel_um: float) -> tuple[float, float]:
        """Draw the widths for an objective of aperture 0.7 to 1.4, and add those of a pixel and of a plane."""
        lateral, axial = log_uniform(self.rng, 0.08, 0.2) / pixel_um, log_uniform(self.rng, 0.2, 0.6) / pixel_um
        return math.hypot(lateral, _PIXEL), math.hypot(axial / self.flatness, _PIXEL)


def blurred(volume: Pixels, sigma_px: tuple[float, float, float]) -> Pixels:
    """Convolve (z, y, x) with a Gaussian, in Fourier space: what leaves on one side comes in on the other."""
    spectrum = np.fft.rfftn(volume, axes=(0, 1, 2))
    n_axes = volume.ndim
    for axis, (size, sigma) in enumerate(zip(volume.shape, sigma_px, strict=True)):
        waves = np.fft.rfftfreq(size) if axis == n_axes - 1 else np.fft.fftfreq(size)
        along = [-1 if number == axis else 1 for number in range(n_axes)]
        spectrum *= np.exp(-2 * (math.pi * sigma * waves) ** 2).reshape(along)
    return np.asarray(np.fft.irfftn(spectrum, volume.shape, axes=(0, 1, 2)), np.float32)


def _layer(canvas: Canvas) -> Pixels:
    """Draw one kind of form, textured and unevenly bright; 1 at its 99.9th percentile."""
    rng = canvas.rng
    kinds = (_bodies, _shells, _threads, _grains)
    draw = kinds[int(rng.choice(len(kinds), p=(0.3, 0.3, 0.2, 0.2)))]
    drawn = draw(canvas, log_uniform(rng, 5.0, 60.0), log_uniform(rng, 0.5, 3.0))
    if draw is not _grains:
        drawn = drawn * canvas.rough()
    drawn = drawn * canvas.uneven(log_uniform(rng, 20.0, 80.0), rng.uniform(0.2, 1.0))
    if draw is not _shells and rng.random() < 0.3:
        drawn = drawn * above(canvas.field(40.0), rng.uniform(-0.3, 0.8), 0.25)
    return bright_is_one(drawn)


def _bodies(canvas: Canvas, size_px: float, edge_px: float) -> Pixels:
    return above(canvas.field(size_px), canvas.rng.uniform(-0.2, 1.6), _edge(size_px, edge_px))


def _shells(canvas: Canvas, size_px: float, edge_px: float) -> Pixels:
    away = canvas.field(size_px) - np.float32(canvas.rng.uniform(-0.5, 1.5))
    return np.asarray(np.exp(-((away / np.float32(_edge(size_px, edge_px))) ** 2)))


def _threads(canvas: Canvas, size_px: float, edge_px: float) -> Pixels:
    away = [canvas.field(size_px) - np.float32(canvas.rng.uniform(-0.5, 0.5)) for _ in range(2)]
    return np.asarray(np.exp(-(away[0] ** 2 + away[1] ** 2) / np.float32(_edge(size_px, edge_px)) ** 2))


def _grains(canvas: Canvas, size_px: float, edge_px: float) -> Pixels:
    """Return the peaks of a field that is finer than those of the other forms."""
    fine = canvas.field(2.0 + size_px / 12)
    return np.asarray(np.maximum(fine - np.float32(canvas.rng.uniform(1.0, 2.0)), 0))


def _edge(size_px: float, edge_px: float) -> float:
    """Return by how much a field of this size changes over a width in pixels, about."""
    return 2.5 * edge_px / size_px


def above(field: Pixels, level: float, edge: float) -> Pixels:
    """Return 1 well above a level and 0 well below it."""
    steep = np.clip((field - np.float32(level)) / np.float32(edge / 2), -30, 30)
    return np.asarray(1 / (1 + np.exp(-steep)), np.float32)


def bright_is_one(volume: Pixels) -> Pixels:
    return np.asarray(volume / max(float(np.percentile(volume, 99.9)), 1e-6), np.float32)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))
