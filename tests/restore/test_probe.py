"""What is measured of a network when it is opened: its reach, and whether the device computes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from care_live.backends.session import OnnxSession, Options
from care_live.config import RestoreConfig
from care_live.errors import RestoreError
from care_live.model.card import METADATA_KEY, ModelCard
from care_live.model.file import read_card
from care_live.model.unet_graph import ConvolutionWeights, UNetShape, build, seeded_weights
from care_live.restore.engine import Engine
from care_live.restore.probe import compare, deviation, reach
from care_live.restore.tiled import Network
from tests.make.networks import HALO, save_network


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_reach_is_measured_and_not_guessed(tmp_path: Path, ndim: int, depth: int) -> None:
    path = save_network(tmp_path / "net.onnx", ndim=ndim, depth=depth)
    card = read_card(path)
    measured = reach(Network(path, card, Options(threads=1), open_session=OnnxSession), card)
    assert all(HALO[depth] - 2**depth < px <= HALO[depth] for px in measured)


def test_a_device_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    right, wrong = save_network(tmp_path / "right.onnx", seed=1), save_network(tmp_path / "wrong.onnx", seed=2)
    card = read_card(right)
    networks = [Network(path, card, Options(threads=1), open_session=OnnxSession) for path in (right, wrong)]
    assert compare(networks[0], networks[0], card, tolerance=0.0) == 0.0
    with pytest.raises(RestoreError, match="of the range"):
        compare(networks[0], networks[1], card, tolerance=1e-3)


def test_a_laplace_scale_that_hardly_varies_is_compared_in_the_unit_of_the_mean(tmp_path: Path) -> None:
    """Its own range may be nothing but rounding."""
    networks = []
    for floor in (1e-3, 1.001e-3):
        unet = UNetShape(filters=2, depth=1, scale_floor=floor)
        *body, (weight, bias) = seeded_weights(unet)
        card = ModelCard(name="flat", divisor=(2, 2, 2), halo_px=(8, 8, 8), heads=("mean", "laplace_scale"))
        metadata = {METADATA_KEY: card.model_dump_json()}
        path = tmp_path / f"{floor}.onnx"
        onnx.save(build(unet, [*body, ConvolutionWeights(0 * weight, bias)], metadata=metadata), path)
        networks.append(Network(path, card, Options(threads=1), open_session=OnnxSession))
    assert 0 < compare(*networks, card, tolerance=1e-5) < 1e-5


@pytest.mark.parametrize(("gain", "is_refused"), [(1.0, False), (1 + 1e-7, False), (1 + 1e-5, True)])
def test_a_network_whose_results_hardly_vary_may_round_them(tmp_path: Path, gain: float, is_refused: bool) -> None:
    """Its mean varies by 3.4 counts at 149, so that float32 itself has 4.5e-6 of that range, and its scale 1.8e-5."""
    path = save_network(tmp_path / "net.onnx", filters=2, past=2)
    card = read_card(path)
    plain, other = (
        Network(each, card, Options(threads=1), open_session=OnnxSession)
        for each in (path, _multiplied(path, tmp_path / "other.onnx", gain))
    )
    if is_refused:
        with pytest.raises(RestoreError, match="of the range"):
            compare(plain, other, card, tolerance=1e-5)
    else:
        assert compare(plain, other, card, tolerance=1e-5) < 1e-5
    assert Engine(path, RestoreConfig(threads=1)).card == card  # compares what it runs with the plain way


def _multiplied(path: Path, other: Path, gain: float) -> Path:
    """Write a network whose results are those of another one, times a gain."""
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(gain), "gain"))
    for output in model.graph.output:
        last = next(node for node in model.graph.node if output.name in node.output)
        last.output[0] = f"{output.name} before"
        model.graph.node.append(onnx.helper.make_node("Mul", [last.output[0], "gain"], [output.name]))
    onnx.save(model, other)
    return other


def test_a_deviation_is_that_of_the_mean_in_units_of_the_scale(tmp_path: Path) -> None:
    right, wrong = save_network(tmp_path / "right.onnx", seed=1), save_network(tmp_path / "wrong.onnx", seed=2)
    card = read_card(right)
    networks = [Network(path, card, Options(threads=1), open_session=OnnxSession) for path in (right, wrong)]
    assert deviation(networks[0], networks[0], card) == 0.0
    apart = deviation(*networks, card)
    assert apart is not None
    assert apart > 0.01
    assert deviation(*networks, card.model_copy(update={"heads": ("mean",)})) is None
