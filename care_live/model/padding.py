"""Zeros in front of a transposed convolution, as the convolution's own padding: one operation, not two.

A transposed convolution gives more than it reads, and its padding says how much of that is cut off on each side. Planes
of zeros before the first one shift what it gives, so they are the same as to cut off less there. torch can write a
padding that is alike on both sides only.
"""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from care_live.model.graph import set_nodes
from care_live.model.rewrite import attributes


def fold_padding(graph: onnx.GraphProto) -> None:
    """Put every padding with zeros that only a transposed convolution reads into that convolution, where it is equal.

    Parameters
    ----------
    graph : of a network; it is changed
    """
    paddings = {node.output[0]: node for node in graph.node if node.op_type == "Pad"}
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    read = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    folded = []
    for node in graph.node:
        padding = paddings.get(node.input[0]) if node.op_type == "ConvTranspose" else None
        if padding is None or read.count(padding.output[0]) != 1 or not _is_plain(padding):
            continue
        pads = _folded(node, known[padding.input[1]].tolist())
        if pads is not None:
            _set_pads(node, pads)
            node.input[0] = padding.input[0]
            folded.append(padding.output[0])
    set_nodes(graph, [node for node in graph.node if node.output[0] not in folded])


def _is_plain(padding: onnx.NodeProto) -> bool:
    """Return whether a padding is with zeros, along all axes in their order."""
    is_zero = attributes(padding).get("mode", b"constant") == b"constant"
    return is_zero and not any(padding.input[2:])


def _folded(node: onnx.NodeProto, amounts: list[int]) -> list[int] | None:
    """Return what a transposed convolution cuts off without a padding of (n, c, [z,] y, x), in front and behind."""
    given, half = attributes(node), len(amounts) // 2
    strides, n_axes = given.get("strides", [1] * (half - 2)), half - 2
    zeros = [*amounts[2:half], *amounts[half + 2 :]]
    pads = [cut - zero * step for cut, zero, step in zip(given["pads"], zeros, strides * 2, strict=True)]
    is_spatial = not any((*amounts[:2], *amounts[half : half + 2]))
    return pads if is_spatial and min(pads) >= 0 and len(strides) == n_axes else None


def _set_pads(node: onnx.NodeProto, pads: list[int]) -> None:
    for attribute in node.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = pads
