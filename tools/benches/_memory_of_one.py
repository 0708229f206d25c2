"""Restore two volumes in one way, and print how much memory that took (a process of its own, for `memory`)."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benches._pairs import bare_session, counts
from care_live.backends import cuda
from care_live.backends.device import DeviceSession
from care_live.backends.session import Options, runtime
from care_live.model.card import ModelCard
from care_live.model.unet_graph import UNetShape, build, seeded_weights
from care_live.percentiles import Span
from care_live.planewise import tiles
from care_live.planewise.caches import keep
from care_live.planewise.whole_volume import open_session
from care_live.restore import footprint
from tests.make.merged import merge

Work: TypeAlias = Callable[[], object]
"""Restores one volume."""
ENDS = {"low": np.array([100], np.float32), "high": np.array([3000], np.float32)}


def main(how: str, shape: tuple[int, int, int], options: Options) -> None:
    how, _, number = how.partition("_")
    members = int(number or 1)
    networks = [build(UNetShape(), seeded_weights(UNetShape(), seed)) for seed in range(members)]
    models = [merge(networks)] if members > 1 and how != "sessions" else networks
    raw, card = counts((1, 1, *shape)), _card(members)
    counted_bytes = _counted_bytes(how, models[0], card, raw) if options.provider == "cpu" else 0
    on_device = _device_bytes(options) if options.provider == "cuda" else None
    begun = psutil.Process().memory_info().rss
    opener = {"bare": _sessions, "sessions": _sessions, "streamed": _streamed}
    work = opener.get(how, _exact)(models, card, raw, options)
    opened = psutil.Process().memory_info().rss
    with _Peak() as peak:
        work()
        work()  # what a first run has planned, the second one takes
    figures = {"grown_mib": (peak.most - begun) / 2**20, "opened_mib": (opened - begun) / 2**20}
    if counted_bytes:
        figures["counted_over_grown"] = counted_bytes / (peak.most - opened)
    if on_device is not None:
        figures["device_mib"] = (_device_bytes(options) - on_device) / 2**20
    print(json.dumps(figures))


class _Peak:
    """The most resident memory while a block runs, looked at every 5 ms."""

    def __enter__(self) -> _Peak:
        self.most, self._over = 0, threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="memory-watch")
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._over.wait(0.005):
            self.most = max(self.most, process.memory_info().rss)


def _device_bytes(options: Options) -> int:
    """Return how much of the device's memory all processes have taken; the runtime's arena gives nothing back."""
    runtime().preload_dlls()
    keep(np.zeros(1, np.float32), options)  # loads the CUDA runtime, whose own memory is not to count
    taken = cuda.memory()
    assert taken is not None, "onnxruntime has loaded no CUDA runtime"
    return taken.taken_bytes


def _card(members: int) -> ModelCard:
    heads = ("mean", "laplace_scale", "disagreement")[: 2 + (members > 1)]
    return ModelCard(name="default", divisor=(4, 4, 4), halo_px=(24, 24, 24), heads=heads, members=members)


def _counted_bytes(how: str, model: onnx.ModelProto, card: ModelCard, raw: np.ndarray) -> int:
    """Return what our own count gives a volume; 0 where others restore it."""
    if how in ("bare", "sessions"):
        return 0
    if how == "streamed":
        return _planned(model, card, raw).peak_bytes
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        path = Path(folder) / "network.onnx"
        onnx.save(model, path)
        return int(footprint.measure(path, card, planewise=True).bytes_per_px * raw.size)


def _exact(models: list[onnx.ModelProto], card: ModelCard, raw: np.ndarray, options: Options) -> Work:
    """As the engine runs it: by planes on a CPU."""
    shapes = {"raw": raw.shape, "low": (1,), "high": (1,)}
    opener = DeviceSession if options.provider == "cuda" else open_session
    session = opener(models[0].SerializeToString(), shapes, options)
    into = [np.empty(raw.shape, np.float32) for _ in card.heads]
    return lambda: session.run({"raw": raw, **ENDS}, into)


def _planned(model: onnx.ModelProto, card: ModelCard, raw: np.ndarray) -> tiles.FieldPlan:
    plan = tiles.plan(model, card, raw.shape[2:])
    assert isinstance(plan, tiles.FieldPlan), plan
    return plan


def _streamed(models: list[onnx.ModelProto], card: ModelCard, raw: np.ndarray, options: Options) -> Work:
    pipeline = tiles.TileSessions(_planned(models[0], card, raw), card, options)
    into = {head: np.empty(raw.shape[1:], np.float32) for head in card.heads}

    def work() -> None:
        stream = pipeline.begin([Span(100.0, 3000.0)], into)
        for z, plane in enumerate(raw[0, 0]):
            stream.place(0, z, plane)
        stream.finish()

    return work


def _sessions(models: list[onnx.ModelProto], card: ModelCard, raw: np.ndarray, options: Options) -> Work:
    """Plain sessions, and of several the mixture's mean and scale in numpy."""
    sessions = [bare_session(model, options.threads, options.provider) for model in models]

    def work() -> None:
        results = [session.run(None, {"raw": raw, **ENDS}) for session in sessions]
        if len(results) > 1:
            means, scales = (np.stack(part) for part in zip(*results, strict=True))
            away = np.abs(means - means.mean(0))
            (away + scales * np.exp(-away / scales)).mean(0)

    return work


if __name__ == "__main__":
    main(sys.argv[1], (int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])), Options(sys.argv[6], int(sys.argv[5])))
