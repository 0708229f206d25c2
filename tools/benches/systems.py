"""Isotropic resolution, deconvolution and two channels together, each against what a user has without a network.

Every network is made as a user makes it: files or a simulator, a recipe, training, export, the engine that
restores live. All are small (2D, 16 filters), minimise the squared error and
learn for a few hundred updates, some minutes each on one core.

*isotropic*: the nuclei stack, smoothed by 1 px, is blurred along z (Gaussian of 2.8 px), exposed to 1200
photo-electrons at its peak, and every fourth, or tenth, plane is kept. The network learns from the lateral slices
of those planes alone; linear and cubic interpolation are what it is compared with. *deconvolution*: generated
tubules and granules seen through a measured widefield point spread function; Richardson-Lucy gets that function,
and as many iterations as suit each image best, judged with the truth. *channels*: two dyes of one simulated worm
in very low light; one network that sees both against one network for each.

    python tools/bench.py systems [--systems isotropic,deconvolution,channels] [--updates 800] [--threads 1]

Keys, PSNR in dB after the affine fit, mean over the test images: ``isotropic_Nx_<linear|cubic|ours>_db``,
``<tubules|granules>_<raw|richardson_lucy|ours>_db``, ``channel_K_<raw|alone|together>_db``; and
``<system>_cpu_seconds``, training included.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from care_live.restore.engine import Engine
from care_live.simulate import Grid, Light, Measured, Microscope, Worm, deconvolution_pair, degrade, noise, sensor
from care_live.simulate.psf import kernel
from care_live.training import volumes
from care_live.training.applied import as_volume, open_engine
from care_live.training.export import export
from care_live.training.fit import Progress
from care_live.training.recipe import Recipe
from care_live.training.score import psnr_db
from care_live.training.train import train

Image = NDArray[Any]
DATA = Path(os.environ.get("CARE_LIVE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
PSF = DATA / "psf_widefield_na0.85" / "psf_wl520nm_z300nm_x130nm_na0.85_n1.0.tif"
PSF_VOXEL_UM, PIXEL_UM = (0.3, 0.13, 0.13), 0.1
AXIAL_SIGMA_PX, LATERAL_SIGMA_PX = 3.0, 1.0
ITERATIONS = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90)
FACTORS = (4.0, 10.0)
DIM = 0.25
PEAK_COUNTS, PEAK_ELECTRONS = 10_000.0, 1200.0
TUBES_AND_GRAINS: tuple[Literal["tubules", "granules"], ...] = ("tubules", "granules")


def measure(arguments: list[str]) -> dict[str, float]:
    """Return every figure of the chosen systems; see the module for the keys."""
    parser = argparse.ArgumentParser(prog="systems")
    parser.add_argument("--systems", default="isotropic,deconvolution,channels")
    parser.add_argument("--updates", type=int, default=800)
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
        _tell(f"{name}: {figures}")
    return figures


class Trainer:
    """From a recipe's [data] to an engine with the trained network in it."""

    def __init__(self, folder: Path, n_updates: int, threads: int) -> None:
        self.folder, self.n_updates, self.threads = folder, n_updates, threads

    def engine(self, name: str, data: dict[str, Any], **network: Any) -> Engine:
        """Train, export and open a small 2D network."""
        fit = FIT | {"n_updates": self.n_updates, "threads": self.threads, "validate_every": min(100, self.n_updates)}
        recipe = Recipe.model_validate({"name": name, "network": NETWORK | network, "data": data, "fit": fit})
        train(recipe, self.folder / name, on_progress=_show)
        export(self.folder / name, self.folder / f"{name}.onnx", checkpoint="last.pt")
        return open_engine(self.folder / f"{name}.onnx", threads=self.threads)


NETWORK = {
    "axes": "YX",
    "pool_px": [2, 2],
    "filters": 16,
    "depth": 3,
    "probabilistic": False,
    "batch_norm": True,
    "initialise": "he",
    "decoder": "transpose",
}
FIT = {
    "batch": 4,
    "patch_px": [64, 64],
    "learning_rate": 2e-3,
    "schedule": "cosine",
    "warmup_updates": 20,
    "loss": "mse",
    "clip_norm": 1.0,
    "average": 0.98,
    "device": "cpu",
}


def restored(engine: Engine, channels: Image) -> Image:
    """Restore (c, z, y, x) counts; gives (c_out, z_out, y, x)."""
    results = engine.restore([as_volume(channel, c) for c, channel in enumerate(channels)])
    return np.stack([result.mean for result in results])


# -- isotropic --------------------------------------------------------------------------------------------------


def isotropic(trainer: Trainer) -> dict[str, float]:
    """Compare our planes between the recorded ones with interpolated ones."""
    truth, figures = nuclei(), {}
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
        engine = trainer.engine(f"isotropic-{factor:g}", data)
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
    engine = trainer.engine("deconvolution", data, depth=2, kernel_px=5)
    psf = Measured(volumes.read_psf(PSF), PSF_VOXEL_UM)
    figures: dict[str, float] = {}
    for specimen in TUBES_AND_GRAINS:
        pairs = [
            deconvolution_pair(seed, specimen=specimen, pixel_um=PIXEL_UM, psf=psf, peak_electrons=200.0)
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
        figures |= _means(specimen, ("raw", "richardson_lucy", "ours"), scores)
    return figures


def focal_plane(psf: Measured) -> Image:
    """Return the point spread function of the thin layer: the mean over 0.2 um to both sides of the focus."""
    sampled = kernel(psf, (0.1, PIXEL_UM, PIXEL_UM))
    middle = len(sampled) // 2
    plane = sampled[middle - 2 : middle + 3].sum(axis=0)
    return np.asarray(plane / plane.sum())


def best_richardson_lucy(blurred: Image, sharp: Image, psf: Image) -> float:
    """Return the PSNR after the best number of iterations, judged with the truth.

    References
    ----------
    Richardson, J. Opt. Soc. Am. 62 (1972); Lucy, Astron. J. 79 (1974), as scikit-image has it.
    """
    from skimage.restoration import richardson_lucy

    electrons = np.clip((blurred.astype(np.float64) - 100) / 2.17, 1e-3, None)
    peak = electrons.max()
    results = (richardson_lucy(electrons / peak, psf, num_iter=n, clip=False) for n in ITERATIONS)
    return max(psnr_db(result, sharp) for result in results)


# -- two channels -----------------------------------------------------------------------------------------------


def channels(trainer: Trainer) -> dict[str, float]:
    """Compare one network that sees two dyes of a worm with one network for each dye."""
    for seed in range(6):
        _write_dyes(trainer.folder / "learn", seed)
    together = trainer.engine("together", _pairs(trainer.folder / "learn", "both"), n_channels_in=2, n_channels_out=2)
    alone = [trainer.engine(f"alone-{c}", _pairs(trainer.folder / "learn", f"dye-{c}")) for c in range(2)]
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


def _show(progress: Progress) -> None:
    if progress.validation_loss is not None:
        _tell(f"update {progress.update}/{progress.n_updates} loss {progress.loss:.4f} {progress.validation_loss:.4f}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
