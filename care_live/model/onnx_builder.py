"""The nodes and constants of an ONNX graph in the making: how care_live writes ONNX by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Number = float | NDArray[Any]
IR_VERSION = 10
"""Of the files: older runtimes refuse newer ones."""


class OnnxBuilder:
    """Collects nodes and constants, in the order in which they are computed.

    Parameters
    ----------
    prefix : of the names that are made up here, so that no other tensor of the graph has them
    named : nodes get the name of their output, which inference names in its errors; only in a graph of its own, as
        no two nodes may have one name
    """

    def __init__(self, prefix: str = "", *, named: bool = False) -> None:
        self._prefix, self._named = prefix, named
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str | Number, output: str = "", **attributes: Any) -> str:
        """Append a node and return the name of its output; inputs that are numbers become constants."""
        names = [entry if isinstance(entry, str) else self.constant(entry) for entry in inputs]
        result = output or f"{self._prefix}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [result], name=result if self._named else None, **attributes))
        return result

    def constant(self, value: Number, name: str = "") -> str:
        """Keep a constant and return its name; float64 becomes float32."""
        array = np.asarray(value)
        kept = array.astype(np.float32) if array.dtype == np.float64 else array
        result = name or f"{self._prefix}constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(kept, result))
        return result

    def append_to(self, graph: onnx.GraphProto) -> None:
        """Write nodes and constants behind those of a graph."""
        graph.node.extend(self.nodes)
        graph.initializer.extend(self.constants)

    def graph(
        self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> onnx.GraphProto:
        """Return all as a graph."""
        return helper.make_graph(self.nodes, name, inputs, outputs, self.constants)
