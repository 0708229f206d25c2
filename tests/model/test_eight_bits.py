"""The network in 8 bits says nearly the same, says when a range is full, and refuses what it can't do."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from care_live.errors import ModelError
from care_live.model import rewrite
from care_live.model.eight_bits import FULLNESS, quantised, tensor_of, watched
from tests.make.seeded_unets import RANGE, counts, run, seeded

SHAPE = (1, 1, 8, 16, 16)


def learnt(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    heads = {output.name for output in model.graph.output}
    return {tensor_of(name): value for name, value in run(watched(model), inputs).items() if name not in heads}


def moved(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> float:
    """Return how far 8 bits move the mean, rms as a share of its deviation."""
    exact, fast = (run(each, inputs)["mean"] for each in (model, quantised(model, learnt(model, inputs))))
    return float(np.sqrt(np.square(fast - exact).mean()) / exact.std())


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        ({"filters": 16}, SHAPE),
        ({"filters": 16, "pool": (1, 2, 2)}, SHAPE),
        ({"axes": "YX", "kernel": (5, 5), "pool": (2, 2), "filters": 16}, (2, 1, 32, 32)),
    ],
    ids=["3d", "z-not-pooled", "2d-kernel-5"],
)
@pytest.mark.parametrize("transposed", [True, False], ids=["transposed", "joined"])
def test_nearly_the_same(architecture: dict[str, object], shape: tuple[int, ...], transposed: bool) -> None:
    model = seeded(**architecture)
    model = rewrite.transpose_decoder(model) if transposed else model
    assert 0 < moved(model, {"raw": counts(shape), **RANGE}) < 0.02


def test_weights_are_bytes_and_every_convolution_with_enough_channels_reads_bytes() -> None:
    model = rewrite.transpose_decoder(seeded(filters=16))
    fast = quantised(model, learnt(model, {"raw": counts(SHAPE), **RANGE}))
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in fast.graph.initializer}
    makers = {output: node for node in fast.graph.node for output in node.output}
    convolutions = [node for node in fast.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    in_bytes = [node for node in convolutions if node.input[1] in makers]
    assert len(in_bytes) == len(convolutions) - 3  # the first reads the image, two heads have kernel 1
    for node in in_bytes:
        assert known[makers[node.input[1]].input[0]].dtype == np.int8
        source = makers[node.input[0]]
        source = makers[source.input[0]] if source.op_type == "MaxPool" else source
        assert source.op_type == "DequantizeLinear"


def test_a_channel_far_brighter_than_the_others_does_not_blind_them() -> None:
    """ReLU lets a positive factor pass, so this is the same function, with one channel a thousand times as bright."""
    model = rewrite.transpose_decoder(seeded(filters=16))
    inputs = {"raw": counts(SHAPE), **RANGE}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = {node.output[0]: node for node in model.graph.node}
    before, reader = nodes["down1_0_linear"], nodes["down1_1_linear"]
    scaled = {name: numpy_helper.to_array(weights[name]).copy() for name in (*before.input[1:], reader.input[1])}
    for name in before.input[1:]:
        scaled[name][0] *= 1000
    scaled[reader.input[1]][:, 0] /= 1000
    even = moved(model, inputs)
    for name, value in scaled.items():
        weights[name].CopyFrom(numpy_helper.from_array(value, name))
    assert moved(model, inputs) < 2 * even


def test_a_brighter_image_fills_the_ranges() -> None:
    model = rewrite.transpose_decoder(seeded(filters=16))
    raw = counts(SHAPE)
    fast = quantised(model, learnt(model, {"raw": raw, **RANGE}))
    assert run(fast, {"raw": raw, **RANGE})[FULLNESS] < 1
    assert run(fast, {"raw": 2 * raw, **RANGE})[FULLNESS] >= 1


def test_a_network_without_wide_layers_is_refused() -> None:
    with pytest.raises(ModelError, match="16 channels that a ReLU gave"):
        watched(seeded(filters=2, depth=1))
