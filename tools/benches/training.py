"""Training against the peers: ours, CSBDeep and CAREamics on the same patches, plus an ablation of ours.

Every contestant gets the same normalised patches of simulated worms, unaugmented and in batches of 4, 16 filters,
depth 2, one thread, and restores the same unseen volume, whole; compared by the paper's NRMSE after the same number
of updates, and after the same CPU seconds of training. Building, the first update and validation are not counted
for anybody. All learn a mean only, by its absolute error; the rest (normalisation, first weights, optimiser, learning
rate, residual or not) is each one's own. Contestants vary with their seed, so each is trained with several, and the
median is given.

Each peer lives in an environment of its own in the user's cache folder, which is made the first time (TensorFlow
alone is some 600 MB); one that does not install is named and left out.

    python tools/bench.py training [--updates 60] [--cpu-seconds 60] [--seeds 3] [--peers csbdeep,careamics]

With the defaults it takes some 5 CPU minutes a contestant, and 10 for the ablation.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benches._training_ours import BATCH, FILTERS, PATCH_PX, train
from care_live.metrics import score
from care_live.simulate import noise, sensor
from care_live.training.data import patches
from care_live.training.data.intensity import USUAL, SpanTable, normalise
from care_live.training.data.simulated import expected_electrons, exposed

Image = NDArray[Any]
CACHE = Path(os.environ.get("CARE_LIVE_CACHE", Path.home() / ".cache" / "care_live")) / "peers"
N_PATCHES = 256
INSTALL = {
    "csbdeep": [["csbdeep==0.8.2", "tensorflow>=2.21,<2.22"]],
    "careamics": [
        ["torch==2.13.0", "lightning", "torchmetrics", "bioimageio.core", "zarr>=3.1.3", "pydantic<=2.14.1",
         "scikit-image", "matplotlib", "microssim", "typer", "psutil", "tifffile", "pyyaml", "validators"],
        ["--no-deps", "careamics==0.3.5"],
    ],
}  # fmt: skip
ABLATION: dict[str, dict[str, Any]] = {
    "as_csbdeep": {
        "standardise": False,
        "batch_norm": False,
        "residual": True,
        "optimiser": "adam",
        "learning_rate": 4e-4,
        "initialise": "glorot",
    },
    "not_standardised": {"standardise": False},
    "no_batch_norm": {"batch_norm": False},
    "residual": {"residual": True},
    "adam": {"optimiser": "adam"},
    "larger_first_weights": {"initialise": "he"},
    "rate_1e-3": {"learning_rate": 1e-3},
    "constant_rate": {"schedule": "constant"},
    "mse": {"loss": "mse"},
    "laplace": {"loss": "laplace", "probabilistic": True, "beta": 1.0},
}
"""What differs from ours."""
Figures = dict[str, float]


def measure(arguments: list[str]) -> Figures:
    """Return the NRMSE of every contestant at both limits, the updates it did in the CPU seconds, and the ablation.

    Keys: ``nrmse_CONTESTANT_at_updates``, ``nrmse_CONTESTANT_at_cpu_seconds``,
    ``n_updates_CONTESTANT_in_cpu_seconds``, ``ablation_CHANGE_nrmse``; each the median over the seeds.
    """
    parser = argparse.ArgumentParser(prog="training")
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--cpu-seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each contestant")
    parser.add_argument("--peers", default="csbdeep,careamics")
    parser.add_argument("--ablation-seeds", type=int, default=1, help="trainings of each change; 0: no ablation")
    chosen = parser.parse_args(arguments)
    begun, task, seeds = time.monotonic(), make_task(), range(1, chosen.seeds + 1)
    limits = Limits(chosen.updates, chosen.cpu_seconds)
    figures = {"nrmse_input": score(task.raw, task.truth).nrmse}
    figures |= median_of(functools.partial(ours, task, limits), seeds)
    for peer in filter(None, chosen.peers.split(",")):
        figures |= against(peer, task, limits, seeds)
    for name in ABLATION:
        figures |= median_of(functools.partial(ablated, name, task, limits), seeds[: chosen.ablation_seeds])
    return figures | {"minutes": round((time.monotonic() - begun) / 60, 1)}


def median_of(contestant: Callable[..., Figures], seeds: Sequence[int]) -> Figures:
    """Return the median of every figure over the seeds."""
    of_seeds = [contestant(seed=seed) for seed in seeds]
    return {key: statistics.median(figures[key] for figures in of_seeds) for key in (of_seeds or [{}])[0]}


@dataclass(frozen=True)
class Limits:
    """How long everybody trains."""

    n_updates: int
    cpu_seconds: float


@dataclass(frozen=True)
class Task:
    """What every contestant gets."""

    training: tuple[Image, Image]
    """(n, 1, z, y, x) normalised inputs and targets."""
    validation: tuple[Image, Image]
    raw: Image
    """(z, y, x), the unseen volume, normalised."""
    truth: Image


def make_task() -> Task:
    """Simulate six worms: four to learn from, one to validate with, one to be judged by."""
    volumes = [exposed(f"worm-{seed}", _worm(seed)[None], doses=(1.0,), seed=seed) for seed in range(300, 305)]
    plan = patches.PatchPlan(PATCH_PX, foreground=0.8)
    training = patches.fixed_patches(volumes[:4], plan, n=N_PATCHES, seed=1)
    electrons, camera = _worm(320), sensor((256, 256), 320)
    raw = camera.expose(electrons, noise.generator(320))
    span = SpanTable.measure(raw[None]).at(*USUAL)
    validation = patches.fixed_patches(volumes[4:], plan, n=16, seed=2)
    return Task(training, validation, normalise(raw[None], span)[0], camera.expected_counts(electrons))


def _worm(seed: int) -> Image:
    return expected_electrons("worm", seed, shape_px=(32, 256, 256), voxel_size_um=(1.0, 0.5, 0.5))


# -- ours -------------------------------------------------------------------------------------------------------


def ours(task: Task, limits: Limits, *, seed: int) -> Figures:
    """Train ours twice, for its learning rate falls over what there is, and compare with the truth."""
    at_updates = train(task.training, task.raw, seed=seed, n_updates=limits.n_updates)
    in_time = train(task.training, task.raw, seed=seed, cpu_seconds=limits.cpu_seconds)
    restored = {"at_updates": at_updates.restored, "at_cpu_seconds": in_time.restored}
    return scored("ours", seed, restored, task) | {"n_updates_ours_in_cpu_seconds": in_time.n_updates}


def ablated(name: str, task: Task, limits: Limits, *, seed: int) -> Figures:
    """Train ours with something changed."""
    trained = train(task.training, task.raw, seed=seed, n_updates=limits.n_updates, **ABLATION[name])
    figures = scored(f"ours, {name}", seed, {"at_updates": trained.restored}, task)
    return {f"ablation_{name}_nrmse": next(iter(figures.values()))}


# -- peers ------------------------------------------------------------------------------------------------------


def against(peer: str, task: Task, limits: Limits, seeds: Sequence[int]) -> Figures:
    """Return a peer's figures, or nothing when it does not install or run; the reason is printed."""
    try:
        python = environment(peer)
        return median_of(functools.partial(run_peer, peer, python, task, limits), seeds)
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"{peer} left out: {error}", file=sys.stderr)
        return {}


def environment(peer: str) -> Path:
    """Return the interpreter of a peer's own environment, made when it is not there yet."""
    folder = CACHE / peer
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        for packages in INSTALL[peer]:
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        (folder / "ready").touch()
    return python


def run_peer(peer: str, python: Path, task: Task, limits: Limits, *, seed: int) -> Figures:
    """Train a peer in its environment and compare what it restored with the truth."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "given.npz", Path(folder) / "out.npz"
        (x, y), (vx, vy) = task.training, task.validation
        np.savez(given, x=x, y=y, vx=vx, vy=vy, raw=task.raw, filters=FILTERS, batch=BATCH)
        script = Path(__file__).with_name(f"_{peer}_training.py")
        limit = ["--updates", str(limits.n_updates), "--cpu-seconds", str(limits.cpu_seconds), "--seed", str(seed)]
        alone = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [str(python), str(script), str(given), str(out), *limit]
        subprocess.run(command, check=True, env=alone, stdout=subprocess.DEVNULL)
        with np.load(out) as result:
            figures = scored(peer, seed, {limit: result[limit] for limit in ("at_updates", "at_cpu_seconds")}, task)
            return figures | {f"n_updates_{peer}_in_cpu_seconds": int(result["n_updates"])}


def scored(contestant: str, seed: int, restored: dict[str, Image], task: Task) -> Figures:
    """Return a contestant's NRMSE at each limit, and print it."""
    figures = {f"nrmse_{contestant}_{limit}": score(image, task.truth).nrmse for limit, image in restored.items()}
    print(f"seed {seed}:", *(f"{key} {value:.4f}" for key, value in figures.items()), file=sys.stderr, flush=True)
    return figures
