"""Lateral slices, degraded anew for every patch: at another angle, with other noise, between other planes.

A stack with few planes has few lateral slices to learn from. Nothing in the plane tells up from down or left from
right, so each is degraded along any direction, and the planes that are left may lie anywhere on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from care_live.errors import ConfigError, TrainingError
from care_live.simulate import Measured, degrade
from care_live.training.data import intensity, volumes
from care_live.training.data.data_recipe import IsotropicData, UpsampleData
from care_live.training.data.examples import Data, PairedVolume, Patch, Tell, find_foreground, paired
from care_live.training.data.intensity import SpanTable, thin
from care_live.training.data.pairs import split
from care_live.training.recipe import Recipe

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

    @property
    def images(self) -> Sequence[Any]:
        return ()  # made for every patch

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        """Return the patch around the middle of the one at a corner, turned; without an rng it is not turned."""
        angle, percentiles = (
            (0.0, intensity.USUAL) if rng is None else (rng.uniform(0, 2 * np.pi), intensity.draw_percentiles(rng))
        )
        margin_px = self.degradation.margin_px
        wide_px = [size + 2 * margin for size, margin in zip(patch_px, margin_px, strict=True)]
        middle = np.asarray(corner) + (np.asarray(patch_px) - 1) / 2
        sharp = _turned(self.splines, middle, wide_px, angle)
        chance = np.random.default_rng(list(corner)) if rng is None else rng
        seen = self.degradation.apply(sharp, chance, first=chance.uniform(0, self.degradation.spacing_px))
        inner = (slice(None), *(slice(m, m + size) for m, size in zip(margin_px, patch_px, strict=True)))
        return Patch(
            intensity.normalise(seen[inner], self.input_span.at(*percentiles)),
            intensity.normalise(sharp[inner], self.target_span.at(*percentiles)),
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


def gather_degraded(data: IsotropicData | UpsampleData, recipe: Recipe, tell: Tell) -> Data:
    """Read sharp volumes and degrade each of them; see `gather` for what is refused."""
    examples: list[PairedVolume | LateralSlice] = []
    found = volumes.find(data.volumes, data.pattern, data.axes)
    for number, (name, stored) in enumerate(found.items()):
        tell(name)
        sharp = np.asarray(volumes.read(stored, n_channels=recipe.network.n_channels_in)[:], np.float32)
        file = stored.file if len(found) > 1 else ""
        try:
            if isinstance(data, UpsampleData):
                examples.append(paired(name, [without_planes(sharp, data.factor)], sharp, file=file))
            else:
                rng = np.random.default_rng([recipe.seed, number])
                examples += _lateral_slices(name, sharp, data, file=file, rng=rng)
        except ConfigError as error:
            raise TrainingError(f"{stored.label}: {error}") from error
    return split(examples, data.validation, turns=isinstance(data, UpsampleData))


def _lateral_slices(
    name: str, sharp: Pixels, data: IsotropicData, *, file: str, rng: np.random.Generator
) -> list[LateralSlice]:
    """Return the slices of one volume (c, [z,] y, x), to be degraded as the axis across them is."""
    stack = sharp if sharp.ndim == 4 else sharp[:, None]
    spacing_px = plane_spacing_px(stack.shape[1], data.factor)
    how = Degradation(axial_blur(data), spacing_px, data.counts_per_electron, data.gauss_sigma_counts)
    return LateralSlice.all_of(name, stack, how, file=file, rng=rng)


def plane_spacing_px(n_planes: int, factor: float) -> float:
    """Return how far apart the planes of a stack lie on the restored grid, whose first and last plane are theirs."""
    return (round(n_planes * factor) - 1) / (n_planes - 1) if n_planes > 1 else factor


def without_planes(sharp: Pixels, factor: float) -> Pixels:
    """Leave planes out of (c, z, y, x) and interpolate them from their neighbours."""
    upright = np.swapaxes(sharp, 1, 2)  # (c, y, z, x): planes are the rows now
    kept = degrade.restack(degrade.thin_out(upright, factor), sharp.shape[1])
    return np.ascontiguousarray(np.swapaxes(kept, 1, 2))


def axial_blur(data: IsotropicData) -> Pixels:
    """Return the axial point spread function turned into the plane, (y, x), sum 1."""
    if data.psf is not None:
        measured = Measured(volumes.read_psf(data.psf), (1.0, 1.0, 1.0), most_um=(np.inf, np.inf))
        return degrade.turned_psf(measured, 1.0)  # one of its voxels is a pixel
    axial, lateral = data.psf_sigma_px
    sigma = math.sqrt(max(axial**2 - lateral**2, 1e-6))
    reach = math.ceil(3 * sigma)
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)[:, None]
    return np.asarray(line / line.sum(), np.float32)
