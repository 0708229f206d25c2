"""Zeros in front of a transposed convolution become the convolution's own padding."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from care_live.model.padding import fold_padding


def padded(amounts: list[int], pads: list[int], *, strides: list[int], mode: str = "constant") -> onnx.ModelProto:
    """Pad (1, 2, 4, 6), then a transposed convolution."""
    weight = np.random.default_rng(2).normal(size=(2, 3, 3, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Pad", ["x", "amounts"], ["more"], mode=mode),
        helper.make_node("ConvTranspose", ["more", "weight"], ["y"], pads=pads, strides=strides),
    ]
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array(amounts), "amounts")]
    shown = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 6])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "padded", [shown], [given], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def run(model: onnx.ModelProto) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(1, 2, 4, 6)).astype(np.float32)
    return np.asarray(ReferenceEvaluator(model).run(None, {"x": x})[0])


@pytest.mark.parametrize(
    ("amounts", "strides"),
    [([0, 0, 2, 0, 0, 0, 0, 0], [1, 2]), ([0, 0, 1, 1, 0, 0, 0, 0], [1, 1]), ([0, 0, 0, 0, 0, 0, 2, 0], [1, 2])],
)
def test_one_operation_gives_what_two_gave(amounts: list[int], strides: list[int]) -> None:
    model = padded(amounts, [2, 1, 2, 1], strides=strides)
    wanted = run(model)
    fold_padding(model.graph)
    assert [node.op_type for node in model.graph.node] == ["ConvTranspose"]
    np.testing.assert_allclose(run(model), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("amounts", "mode"),
    [
        ([0, 0, 3, 0, 0, 0, 0, 0], "constant"),  # more zeros than the convolution cuts off
        ([0, 0, 2, 0, 0, 0, 0, 0], "reflect"),
    ],
)
def test_what_is_no_equal_convolution_stays(amounts: list[int], mode: str) -> None:
    model = padded(amounts, [2, 1, 2, 1], strides=[1, 2], mode=mode)
    fold_padding(model.graph)
    assert [node.op_type for node in model.graph.node] == ["Pad", "ConvTranspose"]
