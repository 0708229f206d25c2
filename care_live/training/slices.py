"""Lateral slices, degraded anew for every patch: at another angle, with other noise, between other planes.

A stack with few planes has few lateral slices to learn from. Nothing in the plane tells up from down or left from
right, so each is degraded along any direction, and the planes that are left may lie anywhere on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from care_live.simulate import degrade
from care_live.training import spans
from care_live.training.examples import Patch, find_foreground
from care_live.training.spans import SpanTable
from care_live.training.volumes import thin

Pixels = NDArray[np.float32]

_HARDLY = 0.1
"""A slice with fewer bright pixels than this share of the average teaches next to nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Degradation:
    """What the microscope does to the axis that it sees badly."""

    psf: Pixels
    """(y, x), from `degraded.axial_blur`."""
    spacing_px: float
    """Distance of planes on the restored grid."""
    counts_per_electron: float
    gauss_counts: float

    @property
    def margin_px(self) -> tuple[int, int]:
        """How far around a patch (y, x) its degraded pixels look."""
        n_y, n_x = self.psf.shape
        return n_y // 2 + math.ceil(self.spacing_px), n_x // 2

    def apply(self, sharp: Pixels, rng: np.random.Generator, *, first: float) -> Pixels:
        """Degrade (…, y, x) along y; the first plane that is left lies on row ``first``."""
        return degrade.anisotropic(
            sharp,
            self.psf,
            self.spacing_px,
            rng=rng,
            first=first,
            counts_per_electron=self.counts_per_electron,
            gauss_counts=self.gauss_counts,
        )


@dataclass(frozen=True, slots=True, eq=False)
class LateralSlice:
    """One plane to learn from."""

    name: str
    file: str
    """Name of the file it comes from: training and validation are split by files where there are several."""
    splines: Pixels
    """(c, y, x) coefficients of cubic splines through the pixels."""
    degradation: Degradation
    input_span: SpanTable
    target_span: SpanTable
    foreground: NDArray[np.int64] = field(repr=False)

    @property
    def shape_px(self) -> tuple[int, ...]:
        return self.splines.shape[1:]

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        """Return the patch around the middle of the one at a corner, turned; without an rng it is not turned."""
        angle, percentiles = (0.0, spans.USUAL) if rng is None else (rng.uniform(0, 2 * np.pi), spans.draw(rng))
        margin_px = self.degradation.margin_px
        wide_px = [size + 2 * margin for size, margin in zip(patch_px, margin_px, strict=True)]
        middle = np.asarray(corner) + (np.asarray(patch_px) - 1) / 2
        sharp = _turned(self.splines, middle, wide_px, angle)
        chance = np.random.default_rng(list(corner)) if rng is None else rng
        seen = self.degradation.apply(sharp, chance, first=chance.uniform(0, self.degradation.spacing_px))
        inner = (slice(None), *(slice(m, m + size) for m, size in zip(margin_px, patch_px, strict=True)))
        return Patch(
            spans.normalise(seen[inner], self.input_span.at(*percentiles)),
            spans.normalise(sharp[inner], self.target_span.at(*percentiles)),
        )

    @classmethod
    def all_of(
        cls, name: str, volume: Pixels, degradation: Degradation, *, file: str, rng: np.random.Generator
    ) -> list[Self]:
        """Return the slices (c, y, x) of a volume (c, z, y, x) on which there is something to see.

        Parameters
        ----------
        file : empty where there is one file only, so that slices are split, not files
        """
        seen_span = SpanTable.measure(thin(degradation.apply(volume, rng, first=0.0))[0])
        span, bright = SpanTable.measure(thin(volume)[0]), find_foreground(volume, n_axes=3)
        enough = _HARDLY * len(bright) / volume.shape[1]
        found = []
        for z in range(volume.shape[1]):
            here = bright[bright[:, 0] == z, 1:]
            if len(here) >= enough:
                own = f"{name} z={z}"
                splines = _splines(volume[:, z])
                found.append(cls(own, file or own, splines, degradation, seen_span, span, here))
        return found


def _splines(plane: Pixels) -> Pixels:
    return np.stack([ndimage.spline_filter(channel, order=3, output=np.float32, mode="mirror") for channel in plane])


def _turned(splines: Pixels, middle: NDArray[np.float64], size_px: Sequence[int], angle: float) -> Pixels:
    """Sample (c, y, x) around a place on a grid that is turned by an angle; outside, the image is mirrored."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    first = middle - turn @ ((np.asarray(size_px) - 1) / 2)
    sampled = [
        ndimage.affine_transform(
            channel, turn, first, output_shape=tuple(size_px), order=3, mode="mirror", prefilter=False
        )
        for channel in splines
    ]
    return np.stack(sampled)
