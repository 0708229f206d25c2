"""From an ONNX file to a network of known sizes: what moves with the planes, and what is refused."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from care_live.planewise.frontend import Unstreamable, read
from tests.make.seeded_unets import seeded

SHAPE = (1, 1, 8, 16, 16)


def graph(*nodes: onnx.NodeProto, inputs: tuple[str, ...] = ("raw", "low", "high")) -> onnx.ModelProto:
    """Return a network of these nodes with one output, y."""
    spaces = {"raw": ["n", 1, "z", "y", "x"]}
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, spaces.get(name, [1])) for name in inputs]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.example", 1)]
    return helper.make_model(helper.make_graph(list(nodes), "test", given, made), opset_imports=opsets)


def test_every_size_is_known_and_what_depends_on_planes_moves() -> None:
    network = read(seeded(depth=1, filters=2), SHAPE)
    assert network.n_planes("raw") == 8 and network.plane_shape("raw") == (1, 1, 16, 16)
    assert "raw" in network.moving and not {"low", "high"} & network.moving
    assert all(network.n_planes(output) == 8 for output in network.outputs)
    assert network.moving >= set(network.outputs)
    assert {network.n_planes(name) for name in network.moving} == {8, 4}, "pooled once"


def test_other_inputs_are_refused() -> None:
    with pytest.raises(Unstreamable, match="its inputs are high, image, low, not raw, low and high"):
        read(graph(helper.make_node("Relu", ["image"], ["y"]), inputs=("image", "low", "high")), SHAPE)


def test_an_operation_of_a_foreign_domain_is_refused_by_name() -> None:
    with pytest.raises(Unstreamable, match=r"Blur is an operation of the foreign domain com\.example"):
        read(graph(helper.make_node("Blur", ["raw"], ["y"], domain="com.example")), SHAPE)


def test_a_tensor_that_mixes_all_planes_is_refused() -> None:
    with pytest.raises(Unstreamable, match=r"ReduceMean gives y of shape .*, which is not a row of planes"):
        read(graph(helper.make_node("ReduceMean", ["raw"], ["y"], keepdims=0)), SHAPE)
