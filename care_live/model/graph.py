"""An ONNX graph as a file holds it: copied, its nodes and its weights put in place of what was there."""

from __future__ import annotations

from collections.abc import Iterable

import onnx


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model that may be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def set_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Let a graph have these nodes, old and new ones."""
    chosen = list(nodes)
    del graph.node[:]
    graph.node.extend(chosen)


def set_weights(graph: onnx.GraphProto, weights: Iterable[onnx.TensorProto]) -> None:
    """Let a graph have these constants, old and new ones."""
    chosen = list(weights)
    del graph.initializer[:]
    graph.initializer.extend(chosen)
