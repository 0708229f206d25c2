"""Several channels of one time point go through the network while they are recorded."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.images import Frame, Volume
from care_live.open_volumes import VolumeOpened
from care_live.restore.engine import Engine
from care_live.worker.client import RestoreProcess
from tests.make.inference import frames_of
from tests.make.networks import noisy, save_network, volume


def recorded(stacks: list[Volume], *, interleaved: bool) -> list[Frame]:
    """Return the planes of all channels in the order of the acquisition."""
    planes = [frame for stack in stacks for frame in frames_of(stack)]
    return sorted(planes, key=lambda frame: frame.index.z) if interleaved else planes


def send(process: RestoreProcess, planes: list[Frame], n_planes: int) -> None:
    opened = set()
    for frame in planes:
        key, (rows, columns) = frame.index.volume, frame.pixels.shape
        if key not in opened:
            opened.add(key)
            process.arrivals.begin(VolumeOpened(key, tuple(range(n_planes)), (rows, columns), "uint16"))
        process.arrivals.place(frame)


@pytest.mark.slow
@pytest.mark.parametrize("c_out", [2, 1], ids=["two-to-two", "two-to-one"])
def test_they_stream_once_a_volume_has_shown_which_they_are(tmp_path: Path, c_out: int) -> None:
    network = save_network(tmp_path / "net.onnx", c_in=2, c_out=c_out)
    fixed = NormaliseConfig(mode="fixed", low_counts=100, high_counts=300)
    config = RestoreConfig(model=network, provider="cpu", threads=1, normalise=fixed, streaming="on")
    engine, process = Engine(network, config), RestoreProcess(config)
    process.start()
    try:
        for t in range(3):
            stacks = [volume(noisy((9, 22, 30), seed=10 * t + c), t=t, c=c) for c in (2, 5)]
            send(process, recorded(stacks, interleaved=t == 1), 9)
            ours, wanted = process.restore(stacks), engine.restore(stacks)
            assert (process.choice.kind == "stream") == (t > 0), str(process.choice)
            for mine, other in zip(ours, wanted, strict=True):
                assert np.abs(mine.mean - other.mean).max() < 1e-5 * np.ptp(other.mean)
                assert (mine.key, mine.sources, mine.flags) == (other.key, other.sources, other.flags)
    finally:
        process.stop()


@pytest.mark.slow
def test_restored_planes_of_each_channel_are_shown_before_the_last_plane(tmp_path: Path) -> None:
    network = save_network(tmp_path / "net.onnx", c_in=2)
    fixed = NormaliseConfig(mode="fixed", low_counts=100, high_counts=300)
    process = RestoreProcess(RestoreConfig(model=network, provider="cpu", threads=1, normalise=fixed, streaming="on"))
    process.start()
    try:
        process.restore([volume(noisy((4, 22, 30)), c=c) for c in (0, 1)])
        stacks = [volume(noisy((40, 22, 30), seed=c), t=1, c=c) for c in (0, 1)]
        planes = recorded(stacks, interleaved=True)
        send(process, planes[:-1], 40)
        shown, deadline = [], time.monotonic() + 60
        while not shown and time.monotonic() < deadline:
            shown = process.arrivals.restored_planes()
            time.sleep(0.05)
        process.arrivals.place(planes[-1])
        restored = process.restore(stacks)
        assert [planes.key.c for planes in shown[:2]] == [0, 1]
        for planes in shown[:2]:
            result = next(one for one in restored if one.volume.key == planes.key)
            assert planes.z.start == 0
            assert np.array_equal(planes.maps["mean"], result.mean[: len(planes.maps["mean"])])
    finally:
        process.stop()
