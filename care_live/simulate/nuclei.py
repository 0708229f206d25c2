"""Cell nuclei as a DNA stain shows them: a layer of clumpy bodies with bright rims and dark nucleoli.

Every volume has its own size, crowding, texture and haze, and some nuclei that divide: small, and several times as
bright. For networks that will see nuclei without any recording in good light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from care_live.simulate.forms import MARGIN_PX, Canvas, Pixels, above, blurred, bright_is_one, log_uniform

Array = NDArray[np.float64]
NucleusBox = tuple[slice, slice, slice]

_EDGE_UM, _RIM_UM, _NUCLEOLUS_EDGE_UM = 0.24, 0.6, 0.4
_DIVIDING = 0.04
"""Share of the nuclei."""
_HAZE_PX = 6.0


def draw_nuclei(seed: int, shape_px: tuple[int, int, int], voxel_size_um: tuple[float, float, float]) -> Pixels:
    """Return one volume of nuclei, blurred as by a confocal microscope.

    Parameters
    ----------
    seed : the same seed is the same volume
    shape_px : (z, y, x)
    voxel_size_um : (z, y, x); pixels are square

    Returns
    -------
    (z, y, x) float32, at least 0, and 1 at its 99.9th percentile
    """
    rng = np.random.default_rng((0x20C1, seed))
    canvas = Canvas.at(rng, shape_px, voxel_size_um)
    layer = Layer.draw(canvas, voxel_size_um)
    drawn = np.zeros(canvas.shape_px, np.float32)
    for nucleus in scatter(rng, layer.extent_um):
        place = layer.around(nucleus)
        np.maximum(drawn[place], layer.stained(nucleus, place, rng), out=drawn[place])
    seen = canvas.blur(drawn)
    seen += np.float32(rng.uniform(0, 0.25)) * np.maximum(blurred(seen, (4.0, _HAZE_PX, _HAZE_PX)), 0)
    seen = bright_is_one(seen) + np.float32(log_uniform(rng, 0.003, 0.15)) * canvas.uneven(60.0, 0.5)
    return bright_is_one(seen[(slice(MARGIN_PX, -MARGIN_PX),) * 3])


@dataclass(frozen=True, slots=True)
class Nucleus:
    """One ellipsoid, lying flat."""

    centre_um: tuple[float, float, float]
    """(z, y, x)."""
    half_axes_um: tuple[float, float, float]
    """(along z, longer, shorter)."""
    angle: float
    """Of the longer axis against y, radians."""
    brightness: float

    @property
    def radius_um(self) -> float:
        """Half of the mean width."""
        return (self.half_axes_um[1] + self.half_axes_um[2]) / 2

    def along(self, offset_um: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        """Turn offsets (z, y, x) from the centre into those along its own axes."""
        z, y, x = offset_um
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return z, cos * y + sin * x, cos * x - sin * y


@dataclass(frozen=True, slots=True)
class Layer:
    """What all nuclei of one volume share: where voxels lie, and how chromatin is spread."""

    axes_um: tuple[Array, Array, Array]
    chromatin: Pixels
    """(z, y, x), a positive factor."""
    outline: Pixels
    """(z, y, x), bends the borders; mean 0, variance 1."""

    @classmethod
    def draw(cls, canvas: Canvas, voxel_size_um: tuple[float, float, float]) -> Self:
        rng = canvas.rng
        texture = canvas.texture(log_uniform(rng, 3.0, 12.0), rng.uniform(2.0, 4.5))
        clumps = np.maximum(canvas.field(log_uniform(rng, 2.0, 4.0)) - np.float32(rng.uniform(0.8, 1.6)), 0)
        chromatin = np.exp(np.float32(rng.uniform(0.15, 0.45)) * texture) * (
            1 + np.float32(rng.uniform(0, 0.9)) * clumps
        )
        sizes = zip(canvas.shape_px, voxel_size_um, strict=True)
        z, y, x = (np.arange(n) * np.float64(step) for n, step in sizes)
        return cls((z, y, x), np.asarray(chromatin, np.float32), canvas.field(5.0 / voxel_size_um[1]))

    @property
    def extent_um(self) -> tuple[float, float, float]:
        z, y, x = (float(axis[-1]) for axis in self.axes_um)
        return z, y, x

    def around(self, nucleus: Nucleus) -> NucleusBox:
        """Return the box of voxels in which all of a nucleus lies."""
        reach_um = 1.5 * max(nucleus.half_axes_um)
        z, y, x = (
            slice(*np.searchsorted(axis, (centre - reach_um, centre + reach_um)))
            for axis, centre in zip(self.axes_um, nucleus.centre_um, strict=True)
        )
        return z, y, x

    def stained(self, nucleus: Nucleus, place: NucleusBox, rng: np.random.Generator) -> Pixels:
        """Return how bright a nucleus is in its box, (z, y, x)."""
        offsets = (axis[part] - at for axis, part, at in zip(self.axes_um, place, nucleus.centre_um, strict=True))
        z, y, x = np.meshgrid(*offsets, indexing="ij", sparse=True)
        own = nucleus.along((z, y, x))
        squares = sum(np.square(axis / half) for axis, half in zip(own, nucleus.half_axes_um, strict=True))
        away = np.sqrt(squares) * (1 + 0.06 * self.outline[place])
        depth_um = np.asarray((1 - away) * nucleus.radius_um, np.float32)
        rim = 1 + np.float32(rng.uniform(0, 0.8)) * np.exp(-np.square(depth_um / np.float32(_RIM_UM)))
        stain = above(depth_um, 0.0, _EDGE_UM) * rim * self.chromatin[place] * np.float32(nucleus.brightness)
        for _ in range(int(rng.integers(0, 5))):
            stain *= 1 - _nucleolus(own, nucleus, rng)
        return np.asarray(stain, np.float32)


def _nucleolus(own: tuple[Array, Array, Array], nucleus: Nucleus, rng: np.random.Generator) -> Pixels:
    """Return by how much a nucleolus dims its surroundings: 0 outside."""
    centre = rng.normal(0, 0.4, 3) * nucleus.half_axes_um
    away_um = np.sqrt(sum(np.square(axis - at) for axis, at in zip(own, centre, strict=True)))
    inside_um = np.asarray(rng.uniform(0.7, 1.6) - away_um, np.float32)
    return np.asarray(np.float32(rng.uniform(0.3, 0.75)) * above(inside_um, 0.0, _NUCLEOLUS_EDGE_UM), np.float32)


def scatter(rng: np.random.Generator, extent_um: tuple[float, float, float]) -> list[Nucleus]:
    """Lay nuclei beside each other, as many as fit."""
    scale, middle_um = rng.uniform(0.75, 1.25), rng.uniform(0.1, 0.9) * extent_um[0]
    n_tries = int(rng.uniform(20, 160) * extent_um[1] * extent_um[2] / 70**2)
    laid: list[Nucleus] = []
    for _ in range(n_tries):
        nucleus = _drawn(rng, scale, middle_um, extent_um)
        if all(apart_um(nucleus, other) > 0.9 * (nucleus.radius_um + other.radius_um) for other in laid):
            laid.append(nucleus)
    return laid


def _drawn(rng: np.random.Generator, scale: float, middle_um: float, extent_um: tuple[float, float, float]) -> Nucleus:
    z_um = middle_um + rng.normal(0, 1.2)
    y_um, x_um = (float(rng.uniform(-3, most + 3)) for most in extent_um[1:])
    longer = scale * rng.uniform(5.0, 7.5)
    half_axes = np.array([scale * rng.uniform(3.0, 5.5), longer, longer * rng.uniform(0.6, 1.0)])
    brightness = rng.lognormal(0, 0.35)
    if rng.random() < _DIVIDING:
        half_axes, brightness = half_axes * (0.7, 0.55, 0.3), brightness * rng.uniform(2, 5)
    along_z, long, short = map(float, half_axes)
    return Nucleus((z_um, y_um, x_um), (along_z, long, short), float(rng.uniform(0, math.pi)), float(brightness))


def apart_um(one: Nucleus, other: Nucleus) -> float:
    return math.hypot(one.centre_um[1] - other.centre_um[1], one.centre_um[2] - other.centre_um[2])
