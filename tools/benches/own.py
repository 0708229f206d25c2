"""Networks for one's own specimen, as `care-live train --input low/ --target high/ --minutes M` makes them.

Eight open stacks, exposed in the virtual microscope's cameras at a peak of 20 photo-electrons, and 60 times as many for
the bright images. Part of each stack (rows, or time points) is never shown to training; on it PSNR is compared with the
best Gaussian filter, tuned with the truth. A budget is CPU time on one thread, so that other programs do not matter.

*pairs*: dim and bright images; *forms*: likewise, beginning with the shipped network of that name; *gains*: its gains
and biases only; *n2n*: two dim exposures and no bright image; *n2v*: one dim exposure. Peers with the same CPU time, in
environments of their own: *csbdeep*, pairs (stacks in 3D); *n2v2*: one dim exposure, by CAREamics.

    python tools/bench.py own --minutes 2,5,15 --seeds 3 [--stacks mouse] [--ways pairs,n2n] [--each F] [--json F]

All of it takes two and a half days of one core; with --minutes 2 --seeds 1 and one way some 25 minutes. --each writes
the figures so far after each network; what is in that file is not done again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from benches._own_peers import PEERS, noisy_by_careamics, pairs_by_csbdeep
from benches._pairs import say
from benches.quality import _binned, _read, in_electrons
from care_live.metrics import psnr_db
from care_live.simulate import noise, sensor
from care_live.training.checkpoint import TrainingHistory
from care_live.training.evaluation.evaluate import best_gaussian
from care_live.training.evaluation.inference import apply_to, open_engine
from care_live.training.export import export
from care_live.training.recipe import Recipe
from care_live.training.train import train
from care_live.training.training_plan import begun_with, own_recipe

Image = NDArray[Any]
STACKS = ("pollen", "cells3d", "flybrain", "mouse", "cho", "mitosis0", "mitosis1", "lysosome")
WAYS = ("pairs", "forms", "gains", "n2n", "n2v", *PEERS)
IN_PLANES = ("lysosome",)
"""Movies of single planes, which `csbdeep` leaves out."""
DOSE = 60.0
"""Of the bright images."""


@dataclass(frozen=True)
class Stack:
    """Photo-electrons of what is learnt from, one image a file, and of what is judged."""

    training: list[Image]
    """([z,] y, x), or (t, y, x) where `axes` says so."""
    judged: list[Image]
    """([z,] y, x)."""
    axes: str


def measure(arguments: list[str]) -> dict[str, float]:
    """Return ``STACK_WAY_Mmin_sK_gain_db`` over the best Gaussian, and its median and least of each way and budget."""
    parser = argparse.ArgumentParser(prog="own")
    parser.add_argument("--minutes", default="2,5,15")
    parser.add_argument("--stacks", default=",".join(STACKS))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--each", type=Path, help="file with the figures so far")
    chosen = parser.parse_args(arguments)
    figures = _so_far(chosen.each)
    for minutes in map(float, chosen.minutes.split(",")):
        for way in chosen.ways.split(","):
            gained = []
            for name in _stacks_of(way, chosen.stacks.split(",")):
                for seed in range(1, chosen.seeds + 1):
                    key = f"{name}_{way}_{minutes:g}min_s{seed}"
                    if f"{key}_gain_db" not in figures:
                        found = (tried_by_peer if way in PEERS else tried)(name, way, minutes, seed)
                        figures = (
                            _so_far(chosen.each) | figures | {f"{key}_{part}": value for part, value in found.items()}
                        )
                        _keep(chosen.each, figures)
                    gained.append(figures[f"{key}_gain_db"])
                    say(f"{key}: {figures[f'{key}_gain_db']:+.2f} dB over {figures[f'{key}_gauss_db']:.2f} dB")
            if not gained:
                continue
            figures[f"{way}_{minutes:g}min_median_gain_db"] = round(statistics.median(gained), 2)
            figures[f"{way}_{minutes:g}min_least_gain_db"] = min(gained)
    return figures


def _stacks_of(way: str, names: list[str]) -> list[str]:
    return [name for name in names if way != "csbdeep" or name not in IN_PLANES]


def _so_far(path: Path | None) -> dict[str, float]:
    return json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}


def _keep(path: Path | None, figures: dict[str, float]) -> None:
    if path is not None:
        path.write_text(json.dumps(figures, indent=1, sort_keys=True), encoding="utf-8")


def tried(name: str, way: str, minutes: float, seed: int) -> dict[str, float]:
    """Train one network as the command does, and compare it with the best Gaussian on what it has not seen."""
    stack = electrons_of(name)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(stack, root, seed=seed)
        begun = time.process_time()
        trained = train(
            recipe_for(root, way, minutes, seed=seed, axes=stack.axes), root / "run", clock=time.process_time
        )
        spent = (time.process_time() - begun) / 60
        export(root / "run", root / "own.onnx")
        raw, gauss, ours = compared(restored_by(root / "own.onnx", stack, seed), stack, seed)
    verdict = trained.verdict
    return {
        "raw_db": round(raw, 2),
        "gauss_db": round(gauss, 2),
        "ours_db": round(ours, 2),
        "gain_db": round(ours - gauss, 2),
        "verdict_doubtful": float(verdict is not None and verdict.is_doubtful),
        "filters": float(trained.recipe.network.filters),
        "updates": float(trained.recipe.fit.n_updates),
        "best_update": float(_best_update(trained.histories[0])),
        "cpu_minutes": round(spent, 2),
    }


def tried_by_peer(name: str, way: str, minutes: float, seed: int) -> dict[str, float]:
    """Let a peer learn from the same images for the same time, and compare it on the same others."""
    stack = electrons_of(name)
    if way == "csbdeep":
        with tempfile.TemporaryDirectory() as folder:
            write(stack, Path(folder), seed=seed)
            recipe = recipe_for(Path(folder), "pairs", minutes, seed=seed, axes=stack.axes)
            restored = pairs_by_csbdeep(recipe, judged_of(stack, seed), minutes=minutes, seed=seed)
    else:
        noisy = [exposed(electrons, 1.0, 100 * seed + 10 * number) for number, electrons in enumerate(stack.training)]
        images = [plane for movie in noisy for plane in movie] if stack.axes == "TYX" else noisy
        restored = noisy_by_careamics(images, judged_of(stack, seed), minutes=minutes, seed=seed)
    _, gauss_db, peer_db = compared(restored, stack, seed)
    return {
        "gauss_db": round(gauss_db, 2),
        "peer_db": round(peer_db, 2),
        "gain_db": round(peer_db - gauss_db, 2),
    }


def _best_update(history: TrainingHistory) -> int:
    """Return after which update the weights were taken that are exported."""
    return history.update[history.judged.index(min(history.judged))]


def recipe_for(root: Path, way: str, minutes: float, *, seed: int, axes: str) -> Recipe:
    """Return what the command makes of its options; one thread of the CPU."""
    images = {"n2n": {"second": root / "low2"}, "n2v": {}}.get(way, {"target": root / "high"})
    recipe = own_recipe([root / "low"], **images, minutes=minutes, axes=axes)
    if way in ("forms", "gains"):
        recipe = begun_with(recipe, Path("forms"), gains_only=way == "gains")
    fit = recipe.fit.model_copy(update={"threads": 1, "device": "cpu"})
    return recipe.model_copy(update={"fit": fit, "seed": seed})


def compared(restored: Iterable[Image], stack: Stack, seed: int) -> tuple[float, float, float]:
    """Return PSNR of raw, of the best Gaussian and of what was restored; means over the judged images."""
    truths = map(expected, stack.judged)
    rows = [
        (psnr_db(raw, truth), best_gaussian(raw, truth)[1], psnr_db(image, truth))
        for raw, truth, image in zip(judged_of(stack, seed), truths, restored, strict=True)
    ]
    raw_db, gauss_db, ours_db = np.mean(rows, axis=0)
    return float(raw_db), float(gauss_db), float(ours_db)


def judged_of(stack: Stack, seed: int) -> list[Image]:
    """Return dim exposures of what is judged."""
    return [exposed(electrons, 1.0, 1000 * seed + number) for number, electrons in enumerate(stack.judged)]


def restored_by(model: Path, stack: Stack, seed: int) -> Iterator[Image]:
    """Yield what a network of ours makes of them."""
    engine = open_engine(model, threads=1)
    for raw, electrons in zip(judged_of(stack, seed), stack.judged, strict=True):
        truth = expected(electrons)
        restored = apply_to(engine, raw[None], truth[None], unit="counts", name=model.stem).mean[0]
        yield restored[0] if truth.ndim == 2 else restored


def write(stack: Stack, root: Path, *, seed: int) -> None:
    """Write ``low``, ``low2`` and ``high``, files named alike."""
    for kind, (name, dose) in enumerate((("low", 1.0), ("low2", 1.0), ("high", DOSE))):
        (root / name).mkdir()
        for number, electrons in enumerate(stack.training):
            counts = exposed(electrons, dose, 100 * seed + 10 * number + kind)
            tifffile.imwrite(root / name / f"v{number}.tif", counts, photometric="minisblack")


def exposed(electrons: Image, dose: float, seed: int) -> Image:
    """Return camera counts; the camera is the same for all images of one size."""
    camera = sensor(electrons.shape[-2:], 7000)
    rng = noise.generator(0x0A11, seed)
    planes = electrons if electrons.ndim == 3 else electrons[None]
    counts = np.stack([camera.expose(plane * np.float32(dose), rng) for plane in planes])
    return counts if electrons.ndim == 3 else counts[0]


def expected(electrons: Image) -> Image:
    """Return the counts that a camera without noise would give."""
    return np.asarray(sensor(electrons.shape[-2:], 7000).expected_counts(electrons))


def electrons_of(name: str) -> Stack:
    """Read a stack as photo-electrons with a peak of 20, split into what is learnt from and what is judged."""
    if name in IN_PLANES:
        movies = [in_electrons(_read(f"lysosome_movies/{number}.tif")) for number in range(1, 6)]
        return Stack([movie[::5] for movie in movies[:4]], list(movies[4][::10]), "TYX")
    if name == "cho":
        cells = _read("cho_3d_timelapse/Fluo-N3DH-CHO_02_img.tif").reshape(20, 5, 443, 512)
        volumes = [in_electrons(_binned(cells[t], 2)) for t in (0, 5, 10, 15, 19)]
        return Stack(volumes[:-1], volumes[-1:], "ZYX")
    if name.startswith("mitosis"):
        channel = int(name[-1])
        dividing = _read("mitosis_5d_crop/xyzct-mitosis.tif").reshape(3, 5, 2, 196, 171)
        volumes = [in_electrons(dividing[t, :, channel]) for t in range(3)]
        return Stack(volumes[:2], volumes[2:], "ZYX")
    whole = in_electrons(_whole(name))
    first = whole.shape[1] * 11 // 16
    return Stack([whole[:, :first]], [whole[:, first:]], "ZYX")


def _whole(name: str) -> Image:
    if name == "cells3d":
        return _binned(_read("cells3d_nuclei/nuclei.tif"), 2)
    if name == "mouse":
        return _binned(_read("mouse_brain_cells_ch0/ch0.tif"), 3)
    return _read(f"{name}/{name}.tif")
