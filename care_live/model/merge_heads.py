"""Convolutions of kernel 1 that read the same tensor, as the heads of a network do, become one."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from onnx import helper, numpy_helper

from care_live.model.graph import copied, set_nodes
from care_live.model.rewrite import attributes, constants, without_dead_nodes


def join_heads(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same network with one convolution, and a Split, in place of several heads.

    A head makes one channel of many, so nearly all of its time goes into reading them.
    """
    joined = copied(model)
    heads = {nodes[0].output[0]: nodes for nodes in _heads(joined) if len(nodes) > 1}
    later = {node.output[0] for nodes in heads.values() for node in nodes[1:]}
    nodes: list[onnx.NodeProto] = []
    for node in joined.graph.node:
        if node.output[0] in heads:
            nodes += _as_one(joined.graph, heads[node.output[0]])
        elif node.output[0] not in later:
            nodes.append(node)
    set_nodes(joined.graph, nodes)
    return without_dead_nodes(joined)


def _heads(model: onnx.ModelProto) -> list[list[onnx.NodeProto]]:
    """Return the convolutions of kernel 1, with weights and biases known, by what they read."""
    known, found = constants(model), defaultdict(list)
    for node in model.graph.node:
        if node.op_type != "Conv" or len(node.input) < 3 or any(name not in known for name in node.input[1:]):
            continue
        plain = {*attributes(node).get("strides", ()), attributes(node).get("group", 1)} == {1}
        if plain and max(known[node.input[1]].shape[2:]) == 1 and not any(attributes(node).get("pads", ())):
            found[node.input[0]].append(node)
    return list(found.values())


def _as_one(graph: onnx.GraphProto, heads: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    name = f"{heads[0].output[0]}@joined"
    parts = {f"{name}_{what}": [known[head.input[i]] for head in heads] for i, what in ((1, "weight"), (2, "bias"))}
    sizes = np.array([len(weight) for weight in parts[f"{name}_weight"]], np.int64)
    constants_made = {key: np.concatenate(values) for key, values in parts.items()} | {f"{name}_sizes": sizes}
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants_made.items())
    return [
        helper.make_node("Conv", [heads[0].input[0], *parts], [name]),
        helper.make_node("Split", [name, f"{name}_sizes"], [head.output[0] for head in heads], axis=1),
    ]
