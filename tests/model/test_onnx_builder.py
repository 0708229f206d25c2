"""ONNX graphs that are written by hand."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from care_live.model.onnx_builder import OnnxBuilder


def test_nodes_and_numbers_make_a_graph_that_runs() -> None:
    builder = OnnxBuilder()
    doubled = builder.add("Mul", "x", 2.0)
    builder.add("Add", doubled, np.array([1.0, -1.0]), output="y")
    ports = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])] for name in ("x", "y")]
    model = helper.make_model(builder.graph("doubled", *ports))
    onnx.checker.check_model(model)
    (y,) = ReferenceEvaluator(model).run(None, {"x": np.array([3, 4], np.float32)})
    assert y.tolist() == [7.0, 7.0]
    assert {constant.data_type for constant in builder.constants} == {TensorProto.FLOAT}, "float64 becomes float32"


def test_made_up_names_have_the_prefix_and_nodes_a_name_only_where_asked() -> None:
    builder, named = OnnxBuilder("ours/"), OnnxBuilder(named=True)
    assert builder.add("Relu", "x") == "ours/0"
    assert builder.constant(1.0).startswith("ours/")
    assert builder.nodes[0].name == ""
    named.add("Relu", "x", output="y")
    assert named.nodes[0].name == "y"


def test_they_are_written_behind_those_of_a_graph() -> None:
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["n"])], "g", [], [])
    builder = OnnxBuilder()
    builder.add("Mul", "n", 3.0, output="y")
    builder.append_to(graph)
    assert [node.op_type for node in graph.node] == ["Neg", "Mul"]
    assert len(graph.initializer) == 1
