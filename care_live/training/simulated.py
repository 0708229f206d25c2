"""Examples from the virtual microscope: endless noise on specimens of which the truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from care_live.errors import TrainingError
from care_live.simulate import GaussianSpot, Grid, Light, Measured, Microscope, Objective, Worm, noise, sensor
from care_live.simulate.psf import Psf
from care_live.simulate.specimen import Specimen
from care_live.simulate.structures import Beads, Box, Granules, Tubules
from care_live.training import volumes
from care_live.training.data import Data, Tell
from care_live.training.examples import ExposedVolume, find_foreground
from care_live.training.recipe import DeconvolveData, Recipe, SimulatedData, SpecimenName, Specimens
from care_live.training.spans import SpanTable

_CAMERA_PX = (1024, 1024)
_N_CAMERAS = 4
_VALIDATION = 1_000_000
"""Validation specimens have seeds from here on, so that no recipe meets them in training."""


def gather_simulated(data: SimulatedData, recipe: Recipe, tell: Tell) -> Data:
    """Simulate the volumes of a recipe; specimen, moment, place, voxel size and camera follow from the seed."""
    first = recipe.seed * 10_000
    training = _volumes(data, data.specimens, first=first, tell=tell)
    return Data(training, _volumes(data, data.validation, first=_VALIDATION + first, tell=tell))


def _volumes(data: SimulatedData, specimens: Specimens, *, first: int, tell: Tell) -> list[ExposedVolume]:
    volumes = []
    for name, n in specimens.items():
        for number in range(n):
            tell(f"{name} {number + 1} of {n}")
            voxel_size_um = data.voxel_sizes_um[number % len(data.voxel_sizes_um)]
            truth = expected_electrons(name, first + number, shape_px=data.shape_px, voxel_size_um=voxel_size_um)
            volumes.append(exposed(f"{name}-{first + number}", truth[None], doses=data.laser_power, seed=number))
    return volumes


def expected_electrons(
    name: SpecimenName, seed: int, *, shape_px: tuple[int, int, int], voxel_size_um: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Return what a camera would count in the mean at laser power 1: (z, y, x) float32 photo-electrons."""
    rng = np.random.default_rng((0x7EA1, seed))
    depth_um = float(rng.uniform(-0.2, 0.2) * shape_px[0] * voxel_size_um[0])
    grid = Grid.centred(shape_px, voxel_size_um, (depth_um, 0.0, 0.0))
    microscope = Microscope(make_specimen(name, seed, grid))
    return microscope.truth(grid, float(rng.uniform(0, 1000)), Light())


def make_specimen(name: SpecimenName, seed: int, grid: Grid) -> Specimen:
    """Return a specimen that fills a grid, by name."""
    if name == "worm":
        _, y_um, x_um = grid.extent_um
        return Worm(seed, (max(64.0, y_um), max(64.0, x_um)))
    box = Box(grid.extent_um)
    if name == "beads":
        return Beads(seed, box)
    return Granules(seed, box) if name == "granules" else Tubules(seed, box)


def exposed(name: str, truth: NDArray[np.float32], *, doses: tuple[float, ...], seed: int) -> ExposedVolume:
    """Wrap the truth, (1, z, y, x) electrons at laser power 1, so that every patch is exposed anew."""
    rng = noise.generator(0xE4B0, seed)
    tables = [SpanTable.measure(expose(truth * np.float32(dose), rng)) for dose in doses]
    return ExposedVolume(
        name=name,
        truth=truth,
        wanted=truth,
        expose=expose,
        to_counts=sensor(_CAMERA_PX, 0).expected_counts,
        doses=doses,
        dose_spans=tuple(tables),
        foreground=find_foreground(truth, n_axes=truth.ndim - 1),
    )


def expose(electrons: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return camera counts (…, y, x), seen by some region of some camera."""
    camera = sensor(_CAMERA_PX, int(rng.integers(_N_CAMERAS)))
    y, x = (int(rng.integers(most - size + 1)) for most, size in zip(_CAMERA_PX, electrons.shape[-2:], strict=True))
    window = (slice(y, y + electrons.shape[-2]), slice(x, x + electrons.shape[-1]))
    region = type(camera)(camera.offset[window], camera.gain[window], camera.read_noise[window])
    return region.expose(electrons, rng)


def gather_blurred(data: DeconvolveData, recipe: Recipe, tell: Tell) -> Data:
    """Generate tubules and granules, sharp as the target and blurred and noisy as the input; 2D."""
    first = recipe.seed * 10_000
    training = _blurred(data, data.specimens, first=first, tell=tell)
    return Data(training, _blurred(data, data.validation, first=_VALIDATION + first, tell=tell))


def _blurred(data: DeconvolveData, specimens: Specimens, *, first: int, tell: Tell) -> list[ExposedVolume]:
    psf = Objective() if data.psf is None else read_psf(data.psf, data.psf_voxel_um)
    examples = []
    for name, n in specimens.items():
        for number in range(n):
            tell(f"{name} {number + 1} of {n}")
            sharp, blurred = sharp_and_blurred(name, first + number, data.shape_px, psf=psf, pixel_um=data.pixel_um)
            peak = float(np.percentile(blurred, 99.9))
            doses = tuple(electrons / peak for electrons in np.geomspace(*data.peak_electrons, 5).tolist())
            volume = exposed(f"{name}-{first + number}", blurred[None], doses=doses, seed=number)
            examples.append(replace(volume, wanted=sharp[None], foreground=find_foreground(sharp[None], n_axes=2)))
    return examples


def sharp_and_blurred(
    name: SpecimenName, seed: int, shape_px: tuple[int, int], *, psf: Psf, pixel_um: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return one plane of a specimen as it is and as the microscope blurs it, each (y, x) electrons.

    The sharp plane is seen through a Gaussian of two pixels, since nothing sharper can be sampled; both are
    scaled to the same total.
    """
    rng = np.random.default_rng((0xDEC0, seed))
    voxel_size_um = (0.3, pixel_um, pixel_um)
    whole = Grid.centred((8, *shape_px), voxel_size_um)
    specimen, t_s, plane = make_specimen(name, seed, whole), float(rng.uniform(0, 1000)), whole.plane(4)
    finest = GaussianSpot(axial_fwhm_um=psf_depth_um(psf), lateral_fwhm_um=2 * pixel_um)
    sharp, blurred = (Microscope(specimen, kind).electrons(plane, t_s, Light()) for kind in (finest, psf))
    return sharp * np.float32(blurred.sum() / max(sharp.sum(), 1e-6)), blurred


def psf_depth_um(psf: Psf) -> float:
    """Return how deep a plane looks: the axial width within which the sharp target shows structures."""
    return 0.6 if psf.reach_um[0] > 0.6 else psf.reach_um[0]


def read_psf(path: Path, voxel_size_um: tuple[float, float, float]) -> Measured:
    """Read a measured point spread function, ZYX TIFF.

    Raises
    ------
    TrainingError
        The file is missing, no image, or has no three axes.
    """
    pixels = np.asarray(volumes.open_tiff(path), np.float32)
    if pixels.ndim != 3 or not np.isfinite(pixels).all() or pixels.max() <= 0:
        raise TrainingError(f"{path} is no point spread function: wanted finite ZYX pixels, got {pixels.shape}")
    return Measured(pixels, voxel_size_um)
