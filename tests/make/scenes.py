"""Volumes with a known answer at every voxel, and a gateway that serves them in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from care_live.images import Counts, ModelIdentity, Plan, Restored, RunStarted, VolumeKey
from care_live.maps import Array, Head
from care_live.model.card import Calibration
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.view_records import NetworkInfo, RunInfo, ViewedVolume
from care_live.viewer.volume_index import VolumeIndex
from care_live.viewer.web.gateway import Gateway
from care_live.viewer.web.server import Server, listen, url
from tests.make import records
from tests.make.records import FIRST

TOKEN = "a-token-only-for-tests-0123456789"
INFO = RunInfo(
    run_id="scene",
    channels=("DAPI", "GFP"),
    positions=("here",),
    networks=(
        NetworkInfo(
            ModelIdentity("worm3d", "0" * 64),
            limits="not for intensity quantification",
            card="3D U-Net for flatworm nuclei",
            calibration=Calibration(levels=(0.5, 0.9), factors=(1.2, 1.1)),
        ),
    ),
)
SMALL = (4, 16, 24)
STARTED = RunStarted("run-1", Plan({}, SMALL[1:], channels=("DAPI",), endless=True, voxel_size_um=(2.0, 0.5, 0.5)))


def scene(
    t: int = 0, *, c: int = 0, shape: tuple[int, int, int] = (12, 64, 96), ensemble: bool = False
) -> ViewedVolume:
    """Return nuclei that drift with t; its raw volume is their noisy image with one hot pixel."""
    rng = np.random.default_rng(1000 * c + t)
    z, y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    centres = np.random.default_rng(7 + c).uniform((2, 6, 6), np.array(shape) - (2, 6, 6), (24, 3))
    mean = np.full(shape, 100, np.float32)
    for cz, cy, cx in centres:
        mean += 220 * np.exp(-(((z - cz) / 1.6) ** 2 + ((y - cy - t) / 4) ** 2 + ((x - cx + 2 * t) / 4) ** 2))
    raw = rng.poisson(np.clip(mean - 60, 1, None) / 4) * 4 + 60 + rng.normal(0, 4, shape)
    raw = np.clip(raw, 0, 65535).astype(np.uint16)
    raw[:, 5, 7] = 65535
    scale = (3 + 0.12 * (mean - 100) + 60 * (x > shape[2] * 0.66) * (mean > 150)).astype(np.float32)
    maps: dict[Head, Array] = {"mean": mean, "laplace_scale": scale}
    if ensemble:
        maps["disagreement"] = np.clip((mean - 100) / 400 * (y > shape[1] / 2), 0, 1).astype(np.float32)
    about = {"voxel_size_um": (2.0, 0.5, 0.5), "acquired_us": 1_700_000_000_000_000 + t}
    model = ModelIdentity("worm3d", "0" * 64)
    of = records.volume(raw, VolumeKey(t, 0, c), **about)
    return ViewedVolume(records.restored(of, maps, model=model), of, "provisional", sequence=t)


def raw_only(raw: Counts, key: VolumeKey = FIRST) -> ViewedVolume:
    """Return a volume that was not restored."""
    return ViewedVolume(None, records.volume(raw, key))


def but(shown: ViewedVolume, **fields: object) -> ViewedVolume:
    """Return a scene of which the restored volume differs; fields of a raw one differ there."""
    of_raw = {name: fields.pop(name) for name in fields.keys() & {"acquired_us", "live"}}
    if "key" in fields:
        of_raw["key"] = fields["key"]
    assert shown.restored is not None and shown.volume is not None
    raw = msgspec.structs.replace(shown.volume, **of_raw)
    return replace(shown, restored=msgspec.structs.replace(shown.restored, raw=raw, **fields), volume=raw)


def restored(t: int, *, c: int = 0) -> Restored:
    """Return a scene as the daemon publishes it."""
    shown = scene(t, c=c, shape=SMALL)
    assert shown.raw is not None
    raw = records.volume(
        shown.raw,
        VolumeKey(t, 0, c),
        run_id="run-1",
        voxel_size_um=(2.0, 0.5, 0.5),
        state="provisional",
        first_plane_ns=1,
        last_plane_ns=time.monotonic_ns(),
        acquired_us=1_700_000_000_000_000 + t,
    )
    return records.restored(
        raw,
        shown.maps,
        low=100.0,
        high=300.0,
        model=ModelIdentity("worm3d", "0" * 64),
        flags=frozenset({"saturated"}),
    )


@contextmanager
def serving(index: VolumeIndex, *, run_directory: Path | None = None) -> Iterator[tuple[Gateway, str]]:
    """Serve an index on a free port; gives the gateway and the address that a person would open."""
    gateway = Gateway(index, TOKEN, run_directory)
    listener = listen("127.0.0.1", 0)
    ready = threading.Event()
    server = Server(gateway, started=ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="gateway of a test")
    thread.start()
    try:
        assert ready.wait(60), "the gateway did not start"
        yield gateway, url(listener, TOKEN)
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
    assert not thread.is_alive()


def filled(*volumes: ViewedVolume) -> VolumeIndex:
    """Return an index with these live volumes."""
    cache = LiveCache()
    cache.begin(INFO)
    for shown in volumes:
        cache.put(shown)
    return VolumeIndex(cache)
