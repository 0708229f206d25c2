"""Peers on the stacks of `own`: CSBDeep on pairs, N2V2 of CAREamics on noisy images alone, for as much CPU time.

Each runs in its own environment, see `training`. CSBDeep learns from 256 patches of the pairs that ours learns from, in
ranges of the same percentiles, with 16 filters: 32 get a quarter of the updates in that time. CAREamics gets the noisy
images whole. The rest is what each does by default.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benches.training import BATCH, FILTERS, N_PATCHES, environment
from care_live.training.data import patches
from care_live.training.data.intensity import USUAL, SpanTable, normalise
from care_live.training.data.loading import gather
from care_live.training.recipe import Recipe

Image = NDArray[Any]
PEERS = ("csbdeep", "n2v2")
_PLANES = 4
"""Planes of a patch and a volume are multiples of this: CSBDeep pools twice, along z too."""


def pairs_by_csbdeep(recipe: Recipe, judged: Sequence[Image], *, minutes: float, seed: int) -> list[Image]:
    """Return volumes (z, y, x), restored by CSBDeep, in a range of their own.

    Parameters
    ----------
    recipe : of ours; it says what is learnt from
    judged : (z, y, x) counts
    """
    data = gather(recipe)
    x, y = _patches(recipe, data.training, n=N_PATCHES, seed=seed)
    vx, vy = _patches(recipe, data.validation, n=16, seed=seed + 1)
    given = {"x": x, "y": y, "vx": vx, "vy": vy, "filters": FILTERS, "batch": BATCH}
    limits = ["--updates", "1", "--cpu-seconds", str(60 * minutes)]
    restored = []
    for raw in judged:
        span = SpanTable.measure(raw[np.newaxis]).at(*USUAL)
        volume = normalise(raw[np.newaxis], span)[0]
        spare = -len(volume) % _PLANES
        whole = np.pad(volume, ((0, spare), (0, 0), (0, 0)), mode="symmetric")
        ran = _run("csbdeep", "_csbdeep_training.py", given | {"raw": whole}, limits, seed=seed)
        restored.append(ran["at_cpu_seconds"][: len(raw)])
    return restored


def _patches(recipe: Recipe, examples: Sequence[Any], *, n: int, seed: int) -> patches.Batch:
    n_planes, *sides = patches.plan_for(recipe, examples).patch_px
    plan = patches.PatchPlan((n_planes // _PLANES * _PLANES, *sides), recipe.fit.foreground)
    return patches.fixed_patches(examples, plan, n=n, seed=seed)


def noisy_by_careamics(train: Sequence[Image], judged: Sequence[Image], *, minutes: float, seed: int) -> list[Image]:
    """Return images ([z,] y, x), restored by N2V2 of CAREamics, which has learnt from others, all counts."""
    limits = ["--cpu-seconds", str(60 * minutes)]
    ran = _run(
        "careamics", "_careamics_noisy.py", {"train": np.stack(train), "judged": np.stack(judged)}, limits, seed=seed
    )
    return list(ran["restored"])


def _run(
    peer: str, script: str, given: Mapping[str, Any], limits: Sequence[str], *, seed: int
) -> Mapping[str, NDArray[Any]]:
    """Run a script in a peer's environment on one thread; returns the arrays that it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        given_file, out = Path(folder) / "given.npz", Path(folder) / "out.npz"
        np.savez(given_file, **given)
        command = [str(environment(peer)), str(Path(__file__).with_name(script)), str(given_file), str(out), *limits]
        alone = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([*command, "--seed", str(seed)], check=True, env=alone, stdout=subprocess.DEVNULL)
        with np.load(out) as arrays:
            return dict(arrays)
