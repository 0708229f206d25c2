"""Every task through a whole run: what watchers get is what the store gets, and what the same engine gives offline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
from onnx import TensorProto

import care_live
from care_live.config import NormaliseConfig, RestoreConfig
from care_live.images import VolumeKey
from care_live.maps import HEADS, MAPS, folder_of
from care_live.model import file
from care_live.model.card import ModelCard
from care_live.model.unet_graph import UNetShape, build, seeded_weights
from care_live.publish import Delivery
from care_live.restore.engine import Engine
from care_live.store import RunReader
from tests.make.merged import merge
from tests.make.networks import Graph, noisy, save_graph, save_network
from tests.make.runs import config, replay, run

pytestmark = [pytest.mark.slow]
FIXED = NormaliseConfig(mode="fixed", low_counts=100, high_counts=300)
SHAPE = (7, 37, 42)


def ensemble(path: Path) -> Path:
    unet = UNetShape(depth=1, filters=2)
    onnx.save(merge([build(unet, seeded_weights(unet, seed)) for seed in range(3)]), path)
    heads = ("mean", "laplace_scale", "disagreement")
    file.write_card(path, ModelCard(name="three", divisor=(2,) * 3, halo_px=(8,) * 3, heads=heads, members=3))
    return path


def projection(path: Path) -> Path:
    graph = Graph(3, seed=1)
    field = graph.add("Relu", graph.conv(graph.add("Cast", "raw", to=TensorProto.FLOAT), 1, 1))
    graph.add("ReduceMean", field, graph.constant(np.array([2])), keepdims=1, output="mean")
    return save_graph(path, graph, ModelCard(name="project", task="project", divisor=(1, 2, 2), halo_px=(0, 2, 2)))


TASKS: dict[str, tuple[Callable[[Path], Path], tuple[int, int, int]]] = {
    "deconvolve-planes": (lambda path: save_network(path, ndim=2, task="deconvolve"), SHAPE),
    "isotropic": (lambda path: save_network(path, ndim=2, task="isotropic", factor=2.6), (18, *SHAPE[1:])),
    "isotropic-geometric-mean": (
        lambda path: save_network(
            path, ndim=2, task="isotropic", factor=2.0, combine="geometric-mean", mirror_yz=True, c_in=2
        ),
        (14, *SHAPE[1:]),
    ),
    "upsample": (lambda path: save_network(path, task="upsample", factor=1.7), (12, *SHAPE[1:])),
    "project": (projection, (1, *SHAPE[1:])),
    "two-channels-to-one": (lambda path: save_network(path, c_in=2, c_out=1), SHAPE),
    "ensemble-of-three": (ensemble, SHAPE),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_gives_the_same_live_stored_and_offline(tmp_path: Path, task: str) -> None:
    make, shape = TASKS[task]
    network = make(tmp_path / "net.onnx")
    n_channels = len(file.read_card(network).channels_in)
    pixels = np.stack([noisy(SHAPE, seed=i) for i in range(2 * n_channels)]).reshape(2, n_channels, *SHAPE)
    tifffile.imwrite(tmp_path / "movie.tif", pixels)
    settings = config(
        tmp_path,
        replay(tmp_path / "movie.tif", speed=60.0) | {"axes": "TCZYX"},
        restore={"model": str(network), "policy": "wait", "provider": "cpu", "normalise": FIXED.model_dump()},
        store={"restored_mantissa_bits": 23},
    )
    seen: dict[VolumeKey, Delivery] = {}

    def watch() -> None:
        with care_live.subscribe(settings.publish.bind_pull, mode="every") as subscriber:
            assert subscriber.next(60) is not None
            is_there.set()
            seen.update({volume.key: volume for volume in subscriber.volumes(60) if volume.model is not None})

    watcher, is_there = threading.Thread(target=watch), threading.Event()
    status = run(settings, meanwhile=lambda _: (watcher.start(), is_there.wait(60)))
    watcher.join(90)
    assert (status.failed, status.restarts) == (0, 0)
    engine = Engine(network, RestoreConfig(provider="cpu", threads=1, normalise=FIXED, streaming="off"))
    reader = RunReader(tmp_path / "runs" / "test")
    for t in range(2):
        for wanted in engine.restore([reader.read_raw(VolumeKey(t, 0, c)) for c in range(n_channels)]):
            assert wanted.mean.shape == shape
            for head in HEADS:
                product, offline = folder_of(head), wanted.maps.get(head)
                assert (offline is None) == (wanted.key not in reader.keys(product))
                if offline is not None:
                    stored = reader.read(product, wanted.key)
                    unit = 1.0 if MAPS[head].unit == "1" else np.ptp(offline)
                    assert np.abs(stored - offline).max() <= 1e-5 * unit
                    assert (seen[wanted.key].maps[head] == stored).all()
