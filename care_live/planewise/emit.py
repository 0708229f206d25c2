"""Write a step as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from care_live.model.onnx_builder import IR_VERSION
from care_live.planewise.schedule import Line, StepGraph


def write(graph: StepGraph, constants: Mapping[str, NDArray[Any]], *, opset: int, raw: dict[str, int]) -> bytes:
    """Return the ONNX file of one step.

    Parameters
    ----------
    constants
        Of the whole program; the step's own ones are picked.
    raw
        Element types of the inputs that are recorded planes, by their neutral name; all else is float32.
    """
    nodes = [_node(line) for line in graph.lines]
    used = dict.fromkeys(name for _, inputs, _, _ in graph.lines for name in inputs if name in constants)
    body = helper.make_graph(
        nodes,
        "step",
        [helper.make_tensor_value_info(name, raw.get(name, TensorProto.FLOAT), shape) for name, shape in graph.inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in graph.outputs],
        [numpy_helper.from_array(np.asarray(constants[name]), name) for name in used],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    content: bytes = model.SerializeToString()
    return content


def _node(line: Line) -> onnx.NodeProto:
    kind, inputs, output, attributes = line
    return helper.make_node(kind, inputs, [output], **{key: _plain(value) for key, value in attributes})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
