"""Isotropic resolution, deconvolution and two channels together, each against what a user has without a network.

Every network is made as a user makes it: files or a simulator, a recipe, training, export, the engine that
restores live. All are small (2D, 16 filters), minimise the squared error and learn for some minutes on one core;
they are kept in the cache, by their recipe and their data, so that a second run only restores.

*isotropic*: the nuclei stack, smoothed by 1 px, is blurred along z (Gaussian of 2.8 px), exposed to 1200
photo-electrons at its peak, and every fourth, or tenth, plane is kept. The network learns from the lateral slices
of those planes alone; linear and cubic interpolation are what it is compared with. *deconvolution*: generated
tubules and granules seen through a measured widefield point spread function, with 30 and with 200 photo-electrons
at their peaks; one network for all. Richardson-Lucy gets that function, and as many iterations as suit each image
best, judged with the truth. *channels*: two dyes of one simulated worm in very low light; one network that sees
both against one network for each, all with as many updates on the same worms.

    python tools/bench.py systems [--systems isotropic,deconvolution,channels] [--updates N] [--threads 1]

Keys, PSNR in dB after the affine fit, mean over the test images: ``isotropic_Nx_<linear|cubic|ours>_db``,
``<tubules|granules>_<30|200>e_<raw|richardson_lucy|ours>_db``, ``channel_K_<raw|alone|together>_db``; and
``<system>_cpu_seconds``, with the training of what was not in the cache.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from benches._pairs import say
from benches._trainer import Trainer
from care_live.metrics import psnr_db
from care_live.restore.engine import Engine
from care_live.simulate import Grid, Light, Measured, Microscope, Worm, deconvolution_pair, degrade, noise, sensor
from care_live.simulate.psf import kernel
from care_live.training.data import volumes
from care_live.training.evaluation.inference import as_volume

Image = NDArray[Any]
DATA = Path(os.environ.get("CARE_LIVE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
PSF = DATA / "psf_widefield_na0.85" / "psf_wl520nm_z300nm_x130nm_na0.85_n1.0.tif"
PSF_VOXEL_UM, PIXEL_UM = (0.3, 0.13, 0.13), 0.1
AXIAL_SIGMA_PX, LATERAL_SIGMA_PX = 3.0, 1.0
ITERATIONS = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 130, 190, 280, 400, 600)
LIGHT_LEVELS = (30.0, 200.0)
FACTORS = (4.0, 10.0)
DIM, N_WORMS = 0.25, 20
PEAK_COUNTS, PEAK_ELECTRONS = 10_000.0, 1200.0
TUBES_AND_GRAINS: tuple[Literal["tubules", "granules"], ...] = ("tubules", "granules")


def measure(arguments: list[str]) -> dict[str, float]:
    """Return every figure of the chosen systems; see the module for the keys."""
    parser = argparse.ArgumentParser(prog="systems")
    parser.add_argument("--systems", default="isotropic,deconvolution,channels")
    parser.add_argument("--updates", type=int, help="for every network; each has a number of its own")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    systems: dict[str, Callable[[Trainer], dict[str, float]]] = {
        "isotropic": isotropic,
        "deconvolution": deconvolution,
        "channels": channels,
    }
    figures: dict[str, float] = {}
    for name in chosen.systems.split(","):
        begun = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            figures |= systems[name](Trainer(Path(folder), chosen.updates, chosen.threads))
        figures[f"{name}_cpu_seconds"] = round(time.process_time() - begun)
        say(f"{name}: {figures}")
    return figures


def restored(engine: Engine, channels: Image) -> Image:
    """Restore (c, z, y, x) counts; gives (c_out, z_out, y, x)."""
    results = engine.restore([as_volume(channel, c) for c, channel in enumerate(channels)])
    return np.stack([result.mean for result in results])


# -- isotropic --------------------------------------------------------------------------------------------------


def isotropic(trainer: Trainer) -> dict[str, float]:
    """Compare our planes between the recorded ones with interpolated ones."""
    truth = nuclei()
    figures: dict[str, float] = {}
    for factor in FACTORS:
        planes = recorded_planes(truth, factor)
        folder = trainer.folder / f"planes-{factor:g}"
        folder.mkdir()
        tifffile.imwrite(folder / "planes.tif", planes)
        data = {"kind": "isotropic", "volumes": str(folder), "factor": factor}
        data |= {
            "psf_sigma_px": (AXIAL_SIGMA_PX, LATERAL_SIGMA_PX),
            "counts_per_electron": PEAK_COUNTS / PEAK_ELECTRONS,
        }
        fit = {"n_updates": 1200, "batch": 2, "patch_px": [64, 128]}
        engine = trainer.engine(f"isotropic-{factor:g}", data, fit=fit, network={"kernel_px": 5})
        ways = {
            "linear": degrade.restack(_upright(planes), len(truth)).swapaxes(0, 1),
            "cubic": cubic(planes, len(truth)),
            "ours": restored(engine, planes[None])[0],
        }
        figures |= {f"isotropic_{factor:g}x_{way}_db": psnr_db(image, truth) for way, image in ways.items()}
    return figures


def nuclei() -> Image:
    """Return the real stack in counts, (z, y, x) float32, nearly isotropic: 0.29, 0.26, 0.26 um.

    It is smoothed by one pixel along every axis: its own noise, 29 dB below the peak, would hide any gain.
    """
    from scipy.ndimage import gaussian_filter

    stack = gaussian_filter(
        tifffile.imread(DATA / "cells3d_nuclei" / "nuclei.tif").astype(np.float32), LATERAL_SIGMA_PX
    )
    low, high = np.percentile(stack, (0.1, 99.9))
    return np.asarray(np.clip((stack - low) / (high - low), 0, None) * PEAK_COUNTS, np.float32)


def recorded_planes(truth: Image, factor: float) -> Image:
    """Blur a stack along z, add photon noise and keep every factor-th plane: uint16."""
    sigma = np.sqrt(AXIAL_SIGMA_PX**2 - LATERAL_SIGMA_PX**2)
    along = np.arange(-9, 10)
    psf = np.exp(-0.5 * (along / sigma) ** 2)[:, None].astype(np.float32)
    blurred = degrade.blur(_upright(truth), psf / psf.sum())
    rng = np.random.default_rng(int(factor))
    kept = degrade.thin_out(blurred, factor)
    seen = degrade.photon_noise(kept, rng, counts_per_electron=PEAK_COUNTS / PEAK_ELECTRONS)
    return np.clip(np.rint(seen.swapaxes(0, 1)), 0, 65535).astype(np.uint16)


def cubic(planes: Image, n_planes: int) -> Image:
    """Interpolate along z with cubic splines; first and last plane stay."""
    from scipy.interpolate import CubicSpline

    places = np.linspace(0, len(planes) - 1, n_planes)
    return np.asarray(CubicSpline(np.arange(len(planes)), planes.astype(np.float32))(places), np.float32)


def _upright(stack: Image) -> Image:
    """Turn (z, y, x) so that planes are rows: (y, z, x)."""
    return np.ascontiguousarray(stack.swapaxes(0, 1)).astype(np.float32)


# -- deconvolution ----------------------------------------------------------------------------------------------


def deconvolution(trainer: Trainer) -> dict[str, float]:
    """Compare our deconvolution with Richardson and Lucy's on structures that the network has not seen."""
    data = {"kind": "deconvolve", "psf": str(PSF), "psf_voxel_um": PSF_VOXEL_UM, "pixel_um": PIXEL_UM}
    fit = {"n_updates": 5000, "batch": 2}
    engine = trainer.engine("deconvolution", data, fit=fit, network={"kernel_px": 5})
    psf = Measured(volumes.read_psf(PSF), PSF_VOXEL_UM)
    figures: dict[str, float] = {}
    for specimen, peak_electrons in product(TUBES_AND_GRAINS, LIGHT_LEVELS):
        pairs = [
            deconvolution_pair(seed, specimen=specimen, pixel_um=PIXEL_UM, psf=psf, peak_electrons=peak_electrons)
            for seed in (90_001, 90_002, 90_003)
        ]
        scores = [
            (
                psnr_db(pair.blurred, pair.sharp),
                best_richardson_lucy(pair.blurred, pair.sharp, focal_plane(psf)),
                psnr_db(restored(engine, pair.blurred[None, None])[0, 0], pair.sharp),
            )
            for pair in pairs
        ]
        figures |= _means(f"{specimen}_{peak_electrons:g}e", ("raw", "richardson_lucy", "ours"), scores)
    return figures


def focal_plane(psf: Measured) -> Image:
    """Return the point spread function of the thin layer: the mean over 0.2 um to both sides of the focus."""
    sampled = kernel(psf, (0.1, PIXEL_UM, PIXEL_UM))
    middle = len(sampled) // 2
    plane = sampled[middle - 2 : middle + 3].sum(axis=0)
    return np.asarray(plane / plane.sum())


def best_richardson_lucy(blurred: Image, sharp: Image, psf: Image) -> float:
    """Return the PSNR after the best number of iterations, judged with the truth: more until it falls.

    References
    ----------
    Richardson, J. Opt. Soc. Am. 62 (1972); Lucy, Astron. J. 79 (1974), as scikit-image has it.
    """
    from skimage.restoration import richardson_lucy

    electrons = np.clip((blurred.astype(np.float64) - 100) / 2.17, 1e-3, None)
    peak, best_db = electrons.max(), -np.inf
    for n in ITERATIONS:
        reached_db = psnr_db(richardson_lucy(electrons / peak, psf, num_iter=n, clip=False), sharp)
        if reached_db < best_db:
            break
        best_db = reached_db
    return best_db


# -- two channels -----------------------------------------------------------------------------------------------


def channels(trainer: Trainer) -> dict[str, float]:
    """Compare one network that sees two dyes of a worm with one network for each dye."""
    learn, fit = trainer.folder / "learn", {"n_updates": 1200}
    for seed in range(N_WORMS):
        _write_dyes(learn, seed)
    both = {"n_channels_in": 2, "n_channels_out": 2}
    together = trainer.engine("together", _pairs(learn, "both"), fit=fit, network=both)
    alone = [trainer.engine(f"alone-{c}", _pairs(learn, f"dye-{c}"), fit=fit, network={}) for c in range(2)]
    figures: dict[str, float] = {}
    tested = [two_dyes(seed) for seed in (70, 71, 72)]
    for c in range(2):
        scores = [
            (
                psnr_db(raw[c], truth[c]),
                psnr_db(restored(alone[c], raw[c : c + 1])[0], truth[c]),
                psnr_db(restored(together, raw)[c], truth[c]),
            )
            for raw, truth in tested
        ]
        figures |= _means(f"channel_{c}", ("raw", "alone", "together"), scores)
    return figures


def two_dyes(seed: int) -> tuple[Image, Image]:
    """Return (raw, expected) counts of two dyes, each (c, z, y, x): nuclei in one place, brightnesses of their own."""
    grid, scope = Grid.centred((10, 192, 192), (1.0, 0.5, 0.5)), Microscope(Worm(seed))
    electrons = [scope.truth(grid, 17.0 * seed, Light(laser_power=DIM), channel) for channel in (0, 1)]
    camera, rng = sensor((192, 192), seed), noise.generator(0xD1E5, seed)
    raw = [np.stack([camera.expose(plane, rng) for plane in channel]) for channel in electrons]
    return np.stack(raw), np.stack([camera.expected_counts(channel) for channel in electrons])


def _write_dyes(folder: Path, seed: int) -> None:
    raw, truth = two_dyes(seed)
    chosen = {"both": slice(0, 2), "dye-0": slice(0, 1), "dye-1": slice(1, 2)}
    for name, part in chosen.items():
        for kind, image in (("low", raw), ("high", truth)):
            path = folder / f"{name}-{kind}" / f"worm-{seed}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, image[part])


def _pairs(folder: Path, name: str) -> dict[str, Any]:
    target = str(folder / f"{name}-high")
    return {"kind": "pairs", "inputs": [str(folder / f"{name}-low")], "target": target, "axes": "CZYX"}


def _means(prefix: str, names: Sequence[str], scores: Sequence[Sequence[float]]) -> dict[str, float]:
    return {f"{prefix}_{name}_db": float(value) for name, value in zip(names, np.mean(scores, axis=0), strict=True)}
