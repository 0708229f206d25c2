"""Where a network runs: honest about it, the same everywhere, and only as large as memory allows."""

from __future__ import annotations

import logging
import platform
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from care_live.config import RestoreConfig
from care_live.errors import ConfigError, RestoreError
from care_live.model.file import read_card
from care_live.restore import select
from care_live.restore.engine import Engine
from tests.make.networks import noisy, save_network, volume

CPU = RestoreConfig(provider="cpu", threads=1)


def test_auto_takes_the_cpu_where_there_is_no_gpu(tmp_path: Path) -> None:
    engine = Engine(save_network(tmp_path / "net.onnx"), CPU.model_copy(update={"provider": "auto"}))
    assert engine.provider in {"cpu", "cuda"}


def test_cuda_is_never_replaced_by_the_cpu(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    if "cuda" in select.candidates(CPU.model_copy(update={"provider": "auto"})):
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="cuda"):
        Engine(path, CPU.model_copy(update={"provider": "cuda"}))


def test_auto_goes_on_to_the_next_provider_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(select, "candidates", lambda _: ("cuda", "cpu"))
    config = CPU.model_copy(update={"provider": "auto"})
    path = save_network(tmp_path / "net.onnx")
    with caplog.at_level(logging.WARNING):
        _, options = select.open_network(path, read_card(path), config)
    assert options.provider == "cpu"
    assert "provider_refused provider=cuda" in caplog.text


@pytest.mark.parametrize(
    ("version", "good"), [((9, 8, 0), False), ((9, 15, 1), False), ((9, 16, 0), True), (None, True)]
)
def test_cudnn_that_computes_wrongly_is_refused(version: tuple[int, int, int] | None, good: bool) -> None:
    if good:
        select.refuse_old_cudnn(version)
    else:
        with pytest.raises(ConfigError, match="computes 3D convolutions wrongly"):
            select.refuse_old_cudnn(version)


def test_fast_mode_needs_something_that_is_fast(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="openvino"):
        Engine(save_network(tmp_path / "net.onnx"), CPU.model_copy(update={"fast_mode": True}))


needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs the [openvino] extra")


@pytest.mark.slow
@needs_openvino
def test_openvino_says_the_same_exactly_and_nearly_so_in_fast_mode(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", filters=16)
    stack = volume(noisy((8, 40, 44)))
    (wanted,) = Engine(path, CPU).restore([stack])
    results = {}
    for fast in (False, True):
        config = CPU.model_copy(update={"provider": "openvino", "fast_mode": fast})
        engine = Engine(path, config)
        assert engine.provider == "openvino"
        (results[fast],) = engine.restore([stack])
    span = wanted.high - wanted.low
    assert np.abs(results[False].mean - wanted.mean).max() < 1e-5 * span
    assert "fast_mode" not in results[False].flags
    assert "fast_mode" in results[True].flags
    assert np.abs(results[True].mean - wanted.mean).max() < 0.05 * span


@needs_openvino
def test_what_fast_mode_costs_is_measured_and_sent_with_the_card(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", filters=16)
    cards = [
        Engine(path, CPU.model_copy(update={"provider": "openvino", "fast_mode": fast})).card for fast in (False, True)
    ]
    assert cards[0].fast_mode_deviation is None
    assert cards[1].fast_mode_deviation is not None
    assert 0 < cards[1].fast_mode_deviation < 0.5
    assert cards[1].model_copy(update={"fast_mode_deviation": None}) == cards[0]


@needs_openvino
def test_fast_mode_is_the_best_that_the_processor_has(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    processor = Path("/proc/cpuinfo")
    if not processor.exists() or platform.machine() != "x86_64":
        pytest.skip("only Linux tells what a processor can do")
    computes_in_bfloat16 = bool({"avx512_bf16", "amx_bf16"} & set(processor.read_text().split()))
    with caplog.at_level(logging.INFO):
        path = save_network(tmp_path / "net.onnx", filters=16)
        Engine(path, CPU.model_copy(update={"provider": "openvino", "fast_mode": True}))
    assert ("fast_mode=int8" in caplog.text) is not computes_in_bfloat16


@needs_openvino
def test_a_network_that_gains_nothing_from_bytes_runs_exactly_in_fast_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from care_live.backends import openvino

    monkeypatch.setattr(openvino, "fast_precision", lambda: "int8")
    path = save_network(tmp_path / "net.onnx", filters=4)
    engine = Engine(path, CPU.model_copy(update={"provider": "openvino", "fast_mode": True}))
    assert engine.card.fast_mode_deviation is not None
    assert engine.card.fast_mode_deviation < 1e-4
    assert "fast_mode=f32 reason=no convolution" in caplog.text


@needs_openvino
def test_openvino_tiles_equal_the_whole(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    config = CPU.model_copy(update={"provider": "openvino"})
    stack = volume(noisy((8, 60, 70)))
    (whole,), (tiled,) = (
        Engine(path, config.model_copy(update={"tile_px": tile})).restore([stack]) for tile in (None, (8, 32, 32))
    )
    assert np.abs(whole.mean - tiled.mean).max() < 1e-5 * (whole.high - whole.low)


def test_networks_without_free_sizes_are_refused_in_our_words(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", ndim=2)
    proto = onnx.load(path)
    for dimension, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, (1, 1, 256, 256), strict=True):
        dimension.dim_value = size
    onnx.save(proto, path)
    with pytest.raises(Exception, match="net"):
        Engine(path, CPU)


@needs_openvino
@pytest.mark.parametrize("slower", ["cpu", "openvino"])
def test_whole_volumes_run_where_they_are_measured_to_be_quicker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slower: str
) -> None:
    path = save_network(tmp_path / "net.onnx")
    measured = iter([2.0, 1.0] if slower == "cpu" else [1.0, 2.0])
    monkeypatch.setattr(select.probe, "seconds", lambda network, card: next(measured))
    config = RestoreConfig(threads=1, streaming="off")
    assert Engine(path, config).provider == ("openvino" if slower == "cpu" else "cpu")
    assert Engine(path, config.model_copy(update={"streaming": "auto"})).provider == "cpu"  # planes come one by one


@needs_openvino
@pytest.mark.parametrize("quicker", ["cpu", "openvino"])
def test_planes_of_a_2d_network_run_where_they_are_quicker_also_while_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quicker: str
) -> None:
    path = save_network(tmp_path / "flat.onnx", ndim=2)
    measured = iter([2.0, 1.0] if quicker == "openvino" else [1.0, 2.0])
    monkeypatch.setattr(select.probe, "seconds", lambda network, card: next(measured))
    assert Engine(path, RestoreConfig(threads=1, streaming="auto")).provider == quicker


@needs_openvino
def test_an_openvino_that_was_not_asked_for_and_that_fails_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RestoreError("loading the network into OpenVINO failed")

    monkeypatch.setattr(select, "openvino_opener", lambda options: broken)
    path = save_network(tmp_path / "net.onnx")
    assert Engine(path, RestoreConfig(threads=1, streaming="off")).provider == "cpu"
    assert "provider_refused provider=openvino" in caplog.text


@needs_openvino
def test_fast_mode_finds_openvino_by_itself(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", filters=16)
    assert Engine(path, RestoreConfig(threads=1, fast_mode=True)).provider == "openvino"
