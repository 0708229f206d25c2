"""From frames in to volume published, over the inference inside it: what the whole path costs beyond the network.

Frames are assembled, their volume restored (in tiles, or streamed while planes come) and published. Inference
is the time inside onnxruntime's own run. One thread and CPU seconds of the process, so that a busy machine
doesn't show; the publisher's thread is in the sum.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from benches._pairs import counts, say
from care_live.assemble import Assembler
from care_live.config import AssembleConfig, NormaliseConfig, PublishConfig, RestoreConfig
from care_live.images import Frame, NetworkInUse, Plan, PlaneIndex, RunStarted, Volume, VolumeKey, read_only
from care_live.model import file
from care_live.model.card import ModelCard
from care_live.model.unet_graph import UNetShape, build, seeded_weights
from care_live.open_volumes import VolumeOpened
from care_live.percentiles import Span
from care_live.publish.publisher import Publisher
from care_live.restore.engine import Engine
from care_live.restore.in_flight import PlaneProgress
from tests.make.merged import merge

SPAN = Span(100.0, 3000.0)


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="overhead", description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(16, 192, 192), metavar=("Z", "Y", "X"))
    parser.add_argument("--tile", type=int, default=128, help="pixels along y and x, halo included")
    parser.add_argument("--volumes", type=int, default=3)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--members", type=int, nargs="+", default=(1, 5))
    asked = parser.parse_args(arguments)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        for members in asked.members:
            model = _write_model(Path(folder) / f"{members}.onnx", members, asked.filters)
            for how in ("tiled", "streamed"):
                figures[f"{how}_{members}"] = _overhead(model, how, asked)
    return figures


def _write_model(path: Path, members: int, filters: int) -> Path:
    unet = UNetShape(filters=filters)
    networks = [build(unet, seeded_weights(unet, seed)) for seed in range(members)]
    heads = ("mean", "laplace_scale", "disagreement")[: 2 + (members > 1)]
    onnx.save(networks[0] if members == 1 else merge(networks), path)
    card = ModelCard(name="bench", divisor=(4, 4, 4), halo_px=(24, 24, 24), heads=heads, members=members)
    file.write_card(path, card)
    return path


def _overhead(model: Path, how: str, asked: argparse.Namespace) -> float:
    """Return the median over volumes, after one that does not count."""
    n_planes, *shape = asked.shape
    config = RestoreConfig(
        provider="cpu",
        threads=1,
        tile_px=(n_planes, asked.tile, asked.tile) if how == "tiled" else None,
        normalise=NormaliseConfig(mode="fixed", low_counts=SPAN.low, high_counts=SPAN.high),
        streaming="on" if how == "streamed" else "off",
    )
    engine = Engine(model, config)
    plan = Plan({VolumeKey(t): tuple(range(n_planes)) for t in range(asked.volumes + 1)}, (shape[0], shape[1]))
    started = RunStarted("bench", plan)
    assembler = Assembler(AssembleConfig(), admit=lambda n_bytes: True)
    ratios = []
    with (
        Publisher(PublishConfig(bind="tcp://127.0.0.1:*", bind_pull="tcp://127.0.0.1:*")) as publisher,
        _inside() as inside,
    ):
        publisher.start(started, NetworkInUse(engine.identity, {}))
        assembler.take(started)
        recorded = np.zeros((n_planes, *shape), np.uint16)
        for t in range(asked.volumes + 1):
            frames = _frames(t, counts((n_planes, *shape), seed=t))
            inside.seconds, begun, wall = 0.0, time.process_time(), time.perf_counter()
            for frame in frames:
                _take(assembler, frame, engine, publisher, recorded=recorded, streams=how == "streamed")
            publisher.drain(30.0)
            ratios.append((time.process_time() - begun) / inside.seconds)
            waited = time.perf_counter() - wall
            say(f"{how} {model.stem}: {inside.seconds:.2f} CPU s inside, x{ratios[-1]:.3f}, {waited:.2f} s")
    return statistics.median(ratios[1:])


def _take(
    assembler: Assembler, frame: Frame, engine: Engine, publisher: Publisher, *, recorded: np.ndarray, streams: bool
) -> None:
    """Do with one frame what the daemon does, in one thread; `recorded` is for the planes of one volume."""
    for event in assembler.take(frame):
        match event:
            case VolumeOpened() if streams:
                into = engine.empty(recorded.shape)
                engine.streams.begin(event.key, [recorded], [SPAN], into, plane_s=1.0, progress=PlaneProgress())
            case Frame() if streams:
                recorded[event.index.z] = event.pixels  # as the daemon copies it to shared memory
                volume = engine.streams.in_flight.get(event.index.volume)
                if volume is not None and volume.held is not None:
                    volume.held.place(0, event.index.z)
            case Volume():
                begun = engine.streams.in_flight.complete(event.key)
                stream = None if begun is None else begun.held
                into = None if stream is None else stream.into
                for restored in engine.restore([event], into=into, stream=stream):
                    publisher.publish(restored)
                if streams and (stream is None or stream.choice.kind == "whole"):
                    raise RuntimeError(f"not streamed: {begun and begun.choice if stream is None else stream.choice}")


def _frames(t: int, pixels: np.ndarray) -> list[Frame]:
    return [
        Frame("bench", t * len(pixels) + z, PlaneIndex(t, 0, 0, z), read_only(plane), time.monotonic_ns())
        for z, plane in enumerate(pixels)
    ]


class _Inside:
    """CPU seconds of this thread inside onnxruntime."""

    seconds = 0.0


@contextmanager
def _inside() -> Iterator[_Inside]:
    """Time every run of every session, of whatever kind."""
    import onnxruntime

    session, spent = onnxruntime.InferenceSession, _Inside()
    plain = {name: getattr(session, name) for name in ("run", "run_with_iobinding")}

    def timed(name: str):
        def run(self, *arguments, **options):
            begun = time.thread_time()
            result = plain[name](self, *arguments, **options)
            spent.seconds += time.thread_time() - begun
            return result

        return run

    for name in plain:
        setattr(session, name, timed(name))
    try:
        yield spent
    finally:
        for name, method in plain.items():
            setattr(session, name, method)
