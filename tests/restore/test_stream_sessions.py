"""Streams of volumes that are being recorded: chosen with a reason, and in smaller tiles once memory has run out."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from care_live.backends.session import Options
from care_live.config import NormaliseConfig, RestoreConfig
from care_live.errors import OutOfMemoryError
from care_live.images import VolumeKey
from care_live.planewise import stream
from care_live.planewise.caches import ChainedSession, Kept
from care_live.reasons import whole
from care_live.restore.engine import Engine
from care_live.restore.in_flight import PlaneProgress
from tests.make.networks import noisy, save_network, volume
from tests.make.streams import SPAN, recorded

FIXED = NormaliseConfig(mode="fixed", low_counts=100, high_counts=300)
SHAPE = (9, 61, 70)
MOST_PX = 48 * 48


class Cramped(ChainedSession):
    """A step on a device that holds planes of few pixels only."""

    def __init__(self, content: bytes, options: Options) -> None:
        super().__init__(content, options)
        inputs = onnx.load_model_from_string(content).graph.input
        shapes = [[one.dim_value for one in value.type.tensor_type.shape.dim] for value in inputs]
        self._n_px = max(shape[-1] * shape[-2] for shape in shapes if len(shape) > 1)

    def run(self, inputs: Mapping[str, Kept]) -> dict[str, Kept]:
        if self._n_px > MOST_PX:
            raise OutOfMemoryError("inference of a step: Failed to allocate memory for requested buffer")
        return super().run(inputs)


def opened(path: Path, **config: object) -> Engine:
    return Engine(path, RestoreConfig(provider="cpu", threads=1, normalise=FIXED, **config))  # type: ignore[arg-type]


@pytest.mark.parametrize("ndim", [2, 3])
def test_why_a_volume_is_streamed_is_said(tmp_path: Path, ndim: int) -> None:
    _, choice = recorded(opened(save_network(tmp_path / "net.onnx", ndim=ndim)), noisy(SHAPE))
    assert (choice.kind, choice.reason) == ("stream", "no-other-planes" if ndim == 2 else "sooner")


def test_why_it_is_not_streamed_is_said(tmp_path: Path) -> None:
    _, choice = recorded(opened(save_network(tmp_path / "net.onnx")), noisy(SHAPE), plane_s=0.0)
    assert (choice.kind, choice.reason) == ("whole", "not-sooner")
    assert "planes come too fast" in str(choice)
    path = save_network(tmp_path / "iso.onnx", ndim=2, task="isotropic", factor=2.0)
    choice = opened(path).streams.choose(SHAPE, plane_s=1.0)
    assert (choice.kind, choice.reason) == ("whole", "task")
    assert "isotropic" in str(choice)


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs the [openvino] extra")
def test_openvino_warms_up_and_waits_for_whole_volumes(tmp_path: Path) -> None:
    engine = Engine(save_network(tmp_path / "net.onnx"), RestoreConfig(provider="openvino", threads=1, normalise=FIXED))
    engine.warm_up(SHAPE)
    restored, choice = recorded(engine, noisy(SHAPE))
    assert (choice.kind, choice.reason) == ("whole", "provider")
    assert np.isfinite(restored.maps["mean"]).all()


def test_memory_that_runs_out_makes_the_next_streams_smaller_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ChainedSession", Cramped)
    path = save_network(tmp_path / "net.onnx")
    ours, roomy = opened(path, streaming="on"), opened(path, streaming="off", tile_px=(16, 32, 32))
    kinds = []
    for t in range(6):
        restored, choice = recorded(ours, noisy(SHAPE, seed=t), t=t)
        kinds.append(choice.kind)
        (wanted,) = roomy.restore([volume(noisy(SHAPE, seed=t), t=t)])
        assert np.abs(restored.maps["mean"] - wanted.maps["mean"]).max() < 1e-5 * np.ptp(wanted.maps["mean"])
        assert ("degraded" in restored.flags) == (t > 0 or kinds[0] == "whole")
    assert kinds[0] == "whole"
    assert kinds[-1] == "stream"


def test_a_third_volume_ends_the_oldest_stream_and_no_number_changes(tmp_path: Path) -> None:
    ours = opened(save_network(tmp_path / "net.onnx"), streaming="on")
    stacks = [noisy(SHAPE, seed=t) for t in range(3)]
    maps = [ours.empty(SHAPE) for _ in stacks]
    for t, pixels in enumerate(stacks):
        ours.streams.begin(VolumeKey(t), [pixels], [SPAN], maps[t], plane_s=1.0, progress=PlaneProgress())
    assert [volume.state for volume in ours.streams.in_flight] == ["opened", "streaming", "streaming"]
    for t, pixels in enumerate(stacks):
        one = ours.streams.in_flight.complete(VolumeKey(t))
        assert one is not None and one.held is not None
        for z in range(len(pixels)):
            one.held.place(0, z)
        (restored,) = ours.restore([volume(pixels, t=t)], maps[t], stream=one.held)
        assert one.held.choice.reason == ("overtaken" if t == 0 else "asked")
        (wanted,) = ours.restore([volume(pixels, t=t)])
        assert np.abs(restored.maps["mean"] - wanted.maps["mean"]).max() < 1e-5 * np.ptp(wanted.maps["mean"])


def test_progress_counts_planes_and_stops_with_the_stream(tmp_path: Path) -> None:
    ours, pixels, progress = opened(save_network(tmp_path / "net.onnx"), streaming="on"), noisy(SHAPE), PlaneProgress()
    one = ours.streams.begin(VolumeKey(0), [pixels], [SPAN], ours.empty(SHAPE), plane_s=1.0, progress=progress)
    assert one.held is not None
    for z in range(len(pixels)):
        one.held.place(0, z)
    assert (progress.n_taken, progress.n_restored) == (len(pixels), len(pixels))
    one.held.abandon(whole("overtaken"))
    one.held.place(0, 0)
    assert progress.n_restored == 0
