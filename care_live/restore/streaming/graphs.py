"""Write a step as an ONNX model, in operations that onnxruntime is quick at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from care_live.restore.streaming.derive import Line, StepGraph

IR_VERSION = 10
_OF_SOFTPLUS = {"softplus@top": np.float32(80), "softplus@one": np.float32(1)}
"""Beyond 80 it is x to the last digit, and exp(x) not yet too large for a float."""


def write(graph: StepGraph, constants: Mapping[str, NDArray[Any]], *, opset: int, raw: dict[str, int]) -> bytes:
    """Return the ONNX file of one step.

    Parameters
    ----------
    constants
        Of the whole program; the step's own ones are picked.
    raw
        Element types of the inputs that are recorded planes, by their neutral name; all else is float32.
    """
    nodes = [node for line in graph.lines for node in _nodes(line)]
    known = {**constants, **_OF_SOFTPLUS}
    used = dict.fromkeys(name for node in nodes for name in node.input if name in known)
    body = helper.make_graph(
        nodes,
        "step",
        [helper.make_tensor_value_info(name, raw.get(name, TensorProto.FLOAT), shape) for name, shape in graph.inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in graph.outputs],
        [numpy_helper.from_array(np.asarray(known[name]), name) for name in used],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    content: bytes = model.SerializeToString()
    return content


def _nodes(line: Line) -> Iterator[onnx.NodeProto]:
    op, inputs, output, attributes = line
    if op == "Softplus":
        yield from _softplus(inputs[0], output)
    else:
        yield helper.make_node(op, inputs, [output], **{key: _plain(value) for key, value in attributes})


def _softplus(x: str, output: str) -> Iterator[onnx.NodeProto]:
    """Yield log(1 + exp(x)) in five operations that have vector code: together they take a third of Softplus' time."""
    made = [f"{output}@{name}" for name in ("least", "exp", "more", "log")]
    yield helper.make_node("Min", [x, "softplus@top"], [made[0]])
    yield helper.make_node("Exp", [made[0]], [made[1]])
    yield helper.make_node("Add", [made[1], "softplus@one"], [made[2]])
    yield helper.make_node("Log", [made[2]], [made[3]])
    yield helper.make_node("Max", [made[3], x], [output])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
