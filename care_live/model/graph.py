"""Changes to a copy of an ONNX graph: other nodes, other weights."""

from __future__ import annotations

from collections.abc import Iterable

import onnx


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model that may be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def set_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Replace the nodes of a graph."""
    chosen = list(nodes)
    del graph.node[:]
    graph.node.extend(chosen)


def set_weights(graph: onnx.GraphProto, weights: Iterable[onnx.TensorProto]) -> None:
    """Replace the constants of a graph."""
    chosen = list(weights)
    del graph.initializer[:]
    graph.initializer.extend(chosen)
