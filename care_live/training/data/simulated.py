"""Examples from the virtual microscope: endless noise on specimens of which the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from care_live.simulate import Grid, Light, Measured, Microscope, Worm, degrade, draw_forms, draw_nuclei, noise, sensor
from care_live.simulate.psf import SPINNING_DISK, Psf
from care_live.simulate.specimen import Specimen
from care_live.simulate.structures import Beads, Box, Granules, Tubules
from care_live.training.data import volumes
from care_live.training.data.data_recipe import DeconvolveData, SimulatedData, SpecimenName, Specimens, ThinSpecimens
from care_live.training.data.examples import Data, ExposedVolume, Tell, find_foreground
from care_live.training.data.intensity import SpanTable
from care_live.training.recipe import Recipe

_CAMERA_PX = (1024, 1024)
_N_CAMERAS = 4
_PEAK_OF_DRAWN = 20.0
_BRIGHTEST = 0.998
"""The quantile of a sharp layer that is laid on the peak of the blurred one."""
_IN_FOCUS = 0.3
"""The peak of a plane over that of its stack, from which on something is in focus."""
_VALIDATION = 1_000_000
"""Validation specimens have seeds from here on, so that no recipe meets them in training."""


def gather_simulated(data: SimulatedData, recipe: Recipe, tell: Tell) -> Data:
    """Simulate the volumes of a recipe; specimen, moment, place, voxel size and camera follow from the seed.

    A network that reads planes learns from each plane with something in it.
    """
    first = recipe.seed * 10_000
    training = _volumes(data, data.specimens, first=first, tell=tell)
    validation = _volumes(data, data.validation, first=_VALIDATION + first, tell=tell)
    if recipe.axes_seen == "YX":
        return Data(_planes(data, training), _planes(data, validation))
    return Data(training, validation)


def _planes(data: SimulatedData, volumes: Sequence[ExposedVolume]) -> list[ExposedVolume]:
    """Return the planes of volumes, each an example of its own, without those where nothing is in focus."""
    planes = []
    for volume in volumes:
        truth = np.asarray(volume.truth[0])
        for z in np.flatnonzero(truth.max(axis=(1, 2)) > _IN_FOCUS * truth.max()):
            planes.append(exposed(f"{volume.name}-z{z}", truth[z][None], doses=data.laser_power, seed=int(z)))
    return planes


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
    """Return what a camera would count in the mean at laser power 1: (z, y, x) float32 photo-electrons.

    Nuclei and forms have a blur of their own and a peak of 20 electrons; plain *forms* have a sampling of their own,
    too, whatever the voxel size.
    """
    match name:
        case "forms":
            return draw_forms(seed, shape_px) * np.float32(_PEAK_OF_DRAWN)
        case "confocal_forms":
            return draw_forms(seed, shape_px, voxel_size_um) * np.float32(_PEAK_OF_DRAWN)
        case "nuclei":
            return draw_nuclei(seed, shape_px, voxel_size_um) * np.float32(_PEAK_OF_DRAWN)
    rng = np.random.default_rng((0x7EA1, seed))
    depth_um = float(rng.uniform(-0.2, 0.2) * shape_px[0] * voxel_size_um[0])
    grid = Grid.centred(shape_px, voxel_size_um, (depth_um, 0.0, 0.0))
    microscope = Microscope(make_specimen(name, seed, grid))
    return microscope.truth(grid, float(rng.uniform(0, 1000)), Light())


def make_specimen(name: Literal["worm", "beads", "tubules", "granules"], seed: int, grid: Grid) -> Specimen:
    """Return a specimen that fills a grid, by name."""
    if name == "worm":
        _, y_um, x_um = grid.extent_um
        return Worm(seed, (max(64.0, y_um), max(64.0, x_um)))
    box = Box(grid.extent_um)
    if name == "beads":
        return Beads(seed, box)
    return Granules(seed, box) if name == "granules" else Tubules(seed, box)


def exposed(
    name: str,
    truth: NDArray[np.float32],
    *,
    doses: tuple[float, ...],
    seed: int,
    wanted: NDArray[np.float32] | None = None,
) -> ExposedVolume:
    """Wrap the truth, (1, [z,] y, x) electrons at laser power 1, so that every patch is exposed anew.

    What is ``wanted`` of the network, in the same unit, is the truth itself unless given.
    """
    rng = noise.generator(0xE4B0, seed)
    tables = [SpanTable.measure(expose(truth * np.float32(dose), rng)) for dose in doses]
    return ExposedVolume(
        name=name,
        truth=truth,
        wanted=truth if wanted is None else wanted,
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
    """Generate tubules and granules, sharp as the target, and as blurred as the input, exposed anew; 2D."""
    first = recipe.seed * 10_000
    psf = SPINNING_DISK if data.psf is None else Measured(volumes.read_psf(data.psf), data.psf_voxel_um)
    training = _blurred(data, data.specimens, psf, first=first, tell=tell)
    return Data(training, _blurred(data, data.validation, psf, first=_VALIDATION + first, tell=tell))


def _blurred(
    data: DeconvolveData, specimens: ThinSpecimens, psf: Psf, *, first: int, tell: Tell
) -> list[ExposedVolume]:
    """Expose each layer at four light levels; sharp ones are made as bright as what is seen of them."""
    doses = tuple(float(peak) for peak in np.geomspace(*data.peak_electrons, 4))
    examples = []
    for name, n in specimens.items():
        for number in range(n):
            tell(f"{name} {number + 1} of {n}")
            seed = first + number
            layer = degrade.thin_layer(seed, data.shape_px, specimen=name, pixel_um=data.pixel_um, psf=psf)
            sharp = layer.sharp / np.float32(max(float(np.quantile(layer.sharp, _BRIGHTEST)), 1e-6))
            examples.append(exposed(f"{name}-{seed}", layer.seen[None], doses=doses, seed=number, wanted=sharp[None]))
    return examples


def write_pairs(
    out: Path,
    specimen: SpecimenName,
    *,
    n: int,
    laser_power: Sequence[float],
    shape_px: tuple[int, int, int],
    voxel_size_um: tuple[float, float, float],
    seed: int,
    tell: Tell = lambda name: None,
) -> tuple[Path, ...]:
    """Write ``out/power-P/NAME.tif`` (uint16) for every dose and ``out/truth/NAME.tif`` (float32 counts at power 1).

    Returns
    -------
    The folders: every dose, then the truth.
    """
    folders = [out / f"power-{power:g}" for power in laser_power] + [out / "truth"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        name = f"{specimen}-{seed + number:04d}.tif"
        tell(name)
        electrons = expected_electrons(specimen, seed + number, shape_px=shape_px, voxel_size_um=voxel_size_um)
        camera = sensor(shape_px[1:], seed + number)
        for dose, (power, folder) in enumerate(zip(laser_power, folders, strict=False)):
            rng = noise.generator(seed + number, dose)
            shots = [camera.expose(plane * np.float32(power), rng) for plane in electrons]
            _write(folder / name, np.stack(shots), voxel_size_um)
        _write(folders[-1] / name, camera.expected_counts(electrons), voxel_size_um)
    return tuple(folders)


def _write(path: Path, image: np.ndarray, voxel_size_um: tuple[float, float, float]) -> None:
    z_um, y_um, x_um = voxel_size_um
    metadata = {"axes": "ZYX", "spacing": z_um, "unit": "um"}
    tifffile.imwrite(
        path,
        image,
        imagej=True,
        resolution=(1 / x_um, 1 / y_um),
        metadata=metadata,
        photometric="minisblack",
        compression="zlib",
    )
