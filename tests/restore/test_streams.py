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
from care_live.images import Restored, VolumeKey
from care_live.percentiles import Span
from care_live.planewise import stream
from care_live.planewise.caches import ChainedSession, Kept
from care_live.restore.engine import Engine
from care_live.restore.in_flight import Arriving
from tests.make.networks import noisy, save_network, volume

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


def recorded(engine: Engine, t: int, *, plane_s: float = 10.0) -> tuple[Restored, Arriving | str]:
    """Restore a volume whose planes came one by one; return its stream, too, or why there was none."""
    key, pixels = VolumeKey(t), noisy(SHAPE, seed=t)
    maps = engine.empty(SHAPE)
    declined = engine.streams.begin(key, SHAPE, [Span(100.0, 300.0)], maps, plane_s=plane_s)
    for z, plane in enumerate(pixels):
        engine.streams.place(key, z, plane, channel=0)
    arriving = engine.streams.take(key)
    (restored,) = engine.restore([volume(pixels, t=t)], maps, stream=arriving)
    return restored, declined if arriving is None else arriving


@pytest.mark.parametrize("ndim", [2, 3])
def test_why_a_volume_is_streamed_is_told(tmp_path: Path, ndim: int) -> None:
    _, arriving = recorded(opened(save_network(tmp_path / "net.onnx", ndim=ndim)), t=0)
    assert isinstance(arriving, Arriving)
    assert arriving.failed is None
    assert ("no other planes" in arriving.why) if ndim == 2 else ("ms streamed" in arriving.why)


def test_why_it_is_not_streamed_is_told(tmp_path: Path) -> None:
    _, declined = recorded(opened(save_network(tmp_path / "net.onnx")), t=0, plane_s=0.0)
    assert "planes come too fast" in str(declined)
    path = save_network(tmp_path / "iso.onnx", ndim=2, task="isotropic", factor=2.0)
    assert "isotropic" in opened(path).streams.begin(VolumeKey(0), SHAPE, [Span(0.0, 1.0)], {}, plane_s=1.0)


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs the [openvino] extra")
def test_openvino_warms_up_and_waits_for_whole_volumes(tmp_path: Path) -> None:
    engine = Engine(save_network(tmp_path / "net.onnx"), RestoreConfig(provider="openvino", threads=1, normalise=FIXED))
    engine.warm_up(SHAPE)
    restored, declined = recorded(engine, t=0)
    assert "OpenVINO takes whole volumes" in str(declined)
    assert np.isfinite(restored.mean).all()


def test_memory_that_runs_out_makes_the_next_streams_smaller_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ChainedSession", Cramped)
    path = save_network(tmp_path / "net.onnx")
    ours, roomy = opened(path, streaming="on"), opened(path, streaming="off", tile_px=(16, 32, 32))
    failures = []
    for t in range(6):
        restored, arriving = recorded(ours, t)
        assert isinstance(arriving, Arriving)
        failures.append(arriving.failed)
        (wanted,) = roomy.restore([volume(noisy(SHAPE, seed=t), t=t)])
        assert np.abs(restored.mean - wanted.mean).max() < 1e-5 * np.ptp(wanted.mean)
        assert ("degraded" in restored.flags) == (t > 0 or failures[0] is not None)
    assert failures[0] is not None
    assert failures[-1] is None
