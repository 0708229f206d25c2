"""Training against the peers: ours, CSBDeep and CAREamics on the same patches, plus an ablation of ours.

Every contestant gets the same normalised patches of simulated worms, 16 filters, depth 2, and restores the
same unseen volume; compared by the paper's NRMSE after the same number of updates, and after the same CPU
seconds. Each peer lives in an environment of its own in the user's cache folder, which is made the first
time (TensorFlow alone is some 600 MB); one that does not install is named and left out.

    python tools/bench.py training [--updates 100] [--cpu-seconds 100] [--peers csbdeep,careamics]

With the defaults it takes some 5 CPU minutes a contestant, and 15 for the ablation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from care_live.simulate import noise, sensor
from care_live.training import patches
from care_live.training.data import Data
from care_live.training.examples import Patch
from care_live.training.export import load_member
from care_live.training.fit import fit
from care_live.training.recipe import Recipe
from care_live.training.score import score
from care_live.training.simulated import expected_electrons, exposed
from care_live.training.spans import USUAL, SpanTable, normalise

Image = NDArray[Any]
CACHE = Path(os.environ.get("CARE_LIVE_CACHE", Path.home() / ".cache" / "care_live")) / "peers"
PATCH_PX = (16, 64, 64)
FILTERS, BATCH, N_PATCHES = 16, 4, 256
INSTALL = {
    "csbdeep": [["csbdeep==0.8.2", "tensorflow>=2.21,<2.22"]],
    "careamics": [
        ["torch==2.13.0", "lightning", "torchmetrics", "bioimageio.core", "zarr>=3.1.3", "pydantic<=2.14.1",
         "scikit-image", "matplotlib", "microssim", "typer", "psutil", "tifffile", "pyyaml", "validators"],
        ["--no-deps", "careamics==0.3.5"],
    ],
}  # fmt: skip
OURS = {"batch_norm": True, "learning_rate": 2e-3, "beta": 1.0}
ABLATION: dict[str, dict[str, Any]] = {
    "as_csbdeep": {"batch_norm": False, "learning_rate": 4e-4, "beta": 0.0, "initialise": "glorot"},
    "no_batch_norm": {"batch_norm": False},
    "not_residual": {"residual": False},
    "rate_4e-4": {"learning_rate": 4e-4},
    "likelihood": {"beta": 0.0},
    "mae": {"loss": "mae", "probabilistic": False},
    "mse": {"loss": "mse", "probabilistic": False},
}
"""What differs from ours."""


def measure(arguments: list[str]) -> dict[str, float]:
    """Return ``nrmse_CONTESTANT_at_updates`` and ``_at_cpu_seconds``, ``ablation_CHANGE_nrmse`` and minutes."""
    parser = argparse.ArgumentParser(prog="training")
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--cpu-seconds", type=float, default=100.0)
    parser.add_argument("--peers", default="csbdeep,careamics")
    parser.add_argument("--no-ablation", action="store_true")
    chosen = parser.parse_args(arguments)
    begun, task = time.monotonic(), make_task()
    figures = {"nrmse_input": score(task.raw, task.truth).nrmse}
    figures["nrmse_ours_at_updates"] = ours(task, n_updates=chosen.updates)
    n_affordable = max(10, int(chosen.cpu_seconds / seconds_per_update(task)))
    figures["nrmse_ours_at_cpu_seconds"] = ours(task, n_updates=n_affordable)
    for peer in filter(None, chosen.peers.split(",")):
        figures |= against(peer, task, chosen.updates, cpu_seconds=chosen.cpu_seconds)
    for name, changes in {} if chosen.no_ablation else ABLATION.items():
        figures[f"ablation_{name}_nrmse"] = ours(task, n_updates=chosen.updates, **changes)
    return figures | {"minutes": round((time.monotonic() - begun) / 60, 1)}


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


@dataclass(frozen=True)
class Given:
    """One of the given patches, as an example that is always taken whole."""

    name: str
    patch: Patch
    shape_px: tuple[int, ...] = PATCH_PX
    foreground: Image = field(default_factory=lambda: np.zeros((0, 3), np.int64))

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        return self.patch


def ours(task: Task, *, n_updates: int, **changes: Any) -> float:
    """Train ours and return its NRMSE on the unseen volume."""
    recipe = _recipe(n_updates, **(OURS | changes))
    training, validation = (
        [Given(str(i), Patch(*pair)) for i, pair in enumerate(zip(*arrays, strict=True))]
        for arrays in (task.training, task.validation)
    )
    with tempfile.TemporaryDirectory() as folder:
        fit(recipe, Data(training, validation), Path(folder))
        network = load_member(Path(folder) / "member-0" / "last.pt", recipe)
    with torch.no_grad():
        mean = network(torch.from_numpy(task.raw[None, None]))[0]
    return _told(f"ours {changes} after {n_updates} updates", mean[0, 0].numpy(), task)


def seconds_per_update(task: Task) -> float:
    """Return the CPU seconds of one of our updates."""
    begun = time.process_time()
    ours(task, n_updates=10)
    return (time.process_time() - begun) / 10


def _recipe(n_updates: int, **settings: Any) -> Recipe:
    network = {"filters": FILTERS, "pool_px": [2, 2, 2], "initialise": "he", "batch_norm": settings.pop("batch_norm")}
    network |= {key: settings.pop(key) for key in ("residual", "probabilistic", "initialise") if key in settings}
    fitted = {"n_updates": n_updates, "batch": BATCH, "patch_px": PATCH_PX, "schedule": "cosine", "average": 0.9}
    fitted |= {"validate_every": n_updates, "warmup_updates": 20, "clip_norm": 1.0, "device": "cpu", **settings}
    return Recipe.model_validate({"name": "ours", "network": network, "data": {"kind": "simulated"}, "fit": fitted})


# -- peers ------------------------------------------------------------------------------------------------------


def against(peer: str, task: Task, n_updates: int, *, cpu_seconds: float) -> dict[str, float]:
    """Return a peer's two figures, or none when it does not install or run; says why."""
    try:
        python = environment(peer)
        limits = {"updates": ["--updates", str(n_updates)], "cpu_seconds": ["--cpu-seconds", str(cpu_seconds)]}
        return {f"nrmse_{peer}_at_{name}": run_peer(peer, python, task, limit) for name, limit in limits.items()}
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


def run_peer(peer: str, python: Path, task: Task, limit: list[str]) -> float:
    """Train a peer in its environment and return its NRMSE on the unseen volume."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "given.npz", Path(folder) / "out.npy"
        (x, y), (vx, vy) = task.training, task.validation
        np.savez(given, x=x, y=y, vx=vx, vy=vy, raw=task.raw, filters=FILTERS, batch=BATCH)
        script = Path(__file__).with_name(f"_peer_{peer}.py")
        subprocess.run([str(python), str(script), str(given), str(out), *limit], check=True)
        return _told(f"{peer} {' '.join(limit)}", np.load(out), task)


def _told(what: str, restored: Image, task: Task) -> float:
    nrmse = score(restored, task.truth).nrmse
    print(f"{what}: NRMSE {nrmse:.4f}", file=sys.stderr, flush=True)
    return nrmse
