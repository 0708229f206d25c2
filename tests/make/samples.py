"""What these tests publish: small volumes whose pixels say which they are."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from care_live.config import PublishConfig
from care_live.images import ModelIdentity, NetworkInUse, Plan, Restored, RunEnded, RunStarted, Volume, VolumeKey
from tests.make import records

MODEL = ModelIdentity("worm3d", "ab" * 32)
NETWORK = NetworkInUse(MODEL, {})
SHAPE = (4, 16, 24)


def config(**settings: object) -> PublishConfig:
    anywhere = {"bind": "tcp://127.0.0.1:0", "bind_pull": "tcp://127.0.0.1:0"}
    return PublishConfig.model_validate(anywhere | settings)


def started(n_times: int = 100, *, n_channels: int = 1, run_id: str = "run-1") -> RunStarted:
    planes = tuple(range(SHAPE[0]))
    stacks = {VolumeKey(t, 0, c): planes for t in range(n_times) for c in range(n_channels)}
    channels = tuple(f"channel-{c}" for c in range(n_channels))
    return RunStarted(
        run_id, Plan(stacks, SHAPE[1:], channels=channels, voxel_size_um=(2.0, 0.5, 0.5)), {"scope": "test"}
    )


def plate(n_positions: int, n_channels: int = 4) -> RunStarted:
    """A plan that is too long to be said stack by stack."""
    planes = tuple(range(50))
    stacks = {VolumeKey(0, p, c): planes for p in range(n_positions) for c in range(n_channels)}
    names = tuple(f"well {p:04d}" for p in range(n_positions))
    return RunStarted("run-1", Plan(stacks, SHAPE[1:], positions=names, voxel_size_um=(2.0, 0.5, 0.5)))


def volume(t: int, c: int = 0, *, shape: tuple[int, int, int] = SHAPE) -> Volume:
    return records.volume(
        np.random.default_rng(t * 10 + c).integers(100, 4000, shape, dtype=np.uint16),
        VolumeKey(t, 0, c),
        run_id="run-1",
        voxel_size_um=(2.0, 0.5, 0.5),
        state="provisional",
        first_plane_ns=time.monotonic_ns() - 50_000_000,
        last_plane_ns=time.monotonic_ns(),
        acquired_us=time.time_ns() // 1000,
        exposure_ms=10.0,
    )


def restored(t: int, c: int = 0, *, shape: tuple[int, int, int] = SHAPE) -> Restored:
    raw = volume(t, c, shape=shape)
    mean = raw.pixels.astype(np.float32) + np.float32(t)
    return records.restored(
        raw,
        {"mean": mean, "laplace_scale": np.sqrt(mean), "disagreement": mean / 8000},
        low=100.0,
        high=4000.0,
        model=MODEL,
        flags=frozenset({"saturated"}),
        infer_s=0.01,
    )


ENDED = RunEnded("finished", n_delivered=400)


def write_keys(folder: Path) -> tuple[Path, Path]:
    """Make a server's key file and an empty allow-list."""
    from care_live.wire import keys, sockets

    keys.write_pair(folder / "server.key", sockets.new_pair())
    (folder / "allowed").write_text("", encoding="ascii")
    return folder / "server.key", folder / "allowed"


def resident_bytes() -> int:
    """Return the memory of this process."""
    import psutil

    return int(psutil.Process().memory_info().rss)
