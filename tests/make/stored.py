"""Volumes that carry their key in their pixels, and runs to put them into."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from care_live.config import StoreConfig
from care_live.images import Integrity, ModelIdentity, Plan, Restored, RunStarted, Volume, VolumeKey, read_only
from care_live.store import RunWriter, open_run
from tests.make import records
from tests.make.records import FIRST

SHAPE = (3, 20, 24)
MODEL = ModelIdentity("worm3d", "a" * 64)


def make_plan(n_t: int = 3, n_p: int = 1, n_c: int = 1, shape: tuple[int, int, int] = SHAPE, **changes) -> Plan:
    keys = [VolumeKey(*numbers) for numbers in itertools.product(range(n_t), range(n_p), range(n_c))]
    fields = {
        "stacks": {key: tuple(range(shape[0])) for key in keys},
        "shape_px": shape[1:],
        "voxel_size_um": (2.0, 0.5, 0.5),
        "channels": tuple(f"channel-{c}" for c in range(n_c)),
        "positions": tuple(f"position-{p}" for p in range(n_p)),
        "interval_s": 10.0,
        **changes,
    }
    return Plan(**fields)


def make_pixels(key: VolumeKey, shape: tuple[int, int, int] = SHAPE, dtype: str = "uint16") -> np.ndarray:
    pixels = np.random.default_rng(list(key)).integers(0, 200, shape).astype(dtype)
    pixels.flat[: min(3, pixels.size)] = [number + 1 for number in key][: pixels.size]
    return read_only(pixels)


def make_volume(key: VolumeKey = FIRST, shape=SHAPE, dtype="uint16", **changes) -> Volume:
    planes = tuple(range(shape[0]))
    fields = {
        "pixels": make_pixels(key, shape, dtype),
        "voxel_size_um": (2.0, 0.5, 0.5),
        "integrity": Integrity(planes, planes[1:], n_duplicates=1, worst_gap_ms=2.5, sequence_ids=(7,)),
        "closed": "deadline",
        "first_plane_ns": 11,
        "last_plane_ns": 22,
        "acquired_us": 33,
        "exposure_ms": 5.0,
    }
    return records.volume(key=key, **(fields | changes))


def make_restored(volume: Volume, *, depth: int | None = None, model: ModelIdentity = MODEL, **changes) -> Restored:
    shape = (depth or volume.pixels.shape[0], *volume.pixels.shape[1:])
    rng = np.random.default_rng([*volume.key, 1])
    fields = {
        "maps": {
            "mean": rng.normal(100, 20, shape),
            "laplace_scale": rng.uniform(1, 9, shape),
            "disagreement": rng.uniform(0, 1, shape),
            "evidence": rng.normal(0, 1, shape),
        },
        "voxel_size_um": (2.0 * volume.pixels.shape[0] / shape[0], 0.5, 0.5),
        "low": 3.0,
        "high": 180.0,
        "flags": frozenset({"late"}),
        "infer_s": 0.25,
    }
    return records.restored(volume, model=model, **(fields | changes))


def only_mean(restored: Restored) -> Restored:
    """Return a result of a network that gives nothing else."""
    return replace(restored, maps={"mean": restored.mean})


def open_writer(folder: Path, plan: Plan | None = None, **config) -> RunWriter:
    settings = {"directory": folder, "keep_free_mib": 0, **config}
    return open_run(StoreConfig(**settings), RunStarted("run", plan or make_plan(), {"microscope": "virtual"}))
