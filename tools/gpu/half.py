"""Mixed precision: convolutions and what stands between them in float16, normalisation and heads in float32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_HALF_OPS = {"Conv", "ConvTranspose", "Relu", "MaxPool", "Resize"}
_FIRST_INPUT_ONLY = {"Resize"}
"""Its other inputs are sizes, which stay as they are."""


def in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network with float16 convolutions; casts stand only where the precision changes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    floats = _float_tensors(model)
    weights = {weight.name: weight for weight in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    halves: set[str] = set()
    wholes = {value.name for value in graph.input}
    for node in list(graph.node):
        if _is_halved(node, floats, halves):
            nodes += _halve(node, floats, weights, halves=halves)
        else:
            nodes += _widen(node.input, halves - wholes, wholes)
            nodes.append(node)
            wholes.update(node.output)
    nodes += _widen([value.name for value in graph.output], halves - wholes, wholes)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    read = {name for node in nodes for name in node.input}
    graph.initializer.extend(weight for name, weight in weights.items() if name in read)
    del graph.value_info[:]
    onnx.checker.check_model(copy)
    return copy


def _is_halved(node: onnx.NodeProto, floats: set[str], halves: set[str]) -> bool:
    """Joining features is done in float16 where they are so already; what joins statistics stays as it is."""
    if node.op_type == "Concat":
        return all(name in halves for name in node.input)
    return node.op_type in _HALF_OPS and node.output[0] in floats


def _halve(
    node: onnx.NodeProto, floats: set[str], weights: dict[str, onnx.TensorProto], *, halves: set[str]
) -> Iterator[onnx.NodeProto]:
    """Yield the node on float16 tensors, after the casts that it needs."""
    n_inputs = 1 if node.op_type in _FIRST_INPUT_ONLY else len(node.input)
    for i in range(n_inputs):
        name = node.input[i]
        if name in weights and name in floats:
            values = numpy_helper.to_array(weights[name]).astype(np.float16)
            weights[f"{name}@half"] = numpy_helper.from_array(values, f"{name}@half")
        elif name in floats and name not in halves:
            halves.add(name)
            yield _cast(name, back=False)
        if name in floats:
            node.input[i] = f"{name}@half"
    halves.add(node.output[0])
    node.output[0] = f"{node.output[0]}@half"
    yield node


def _widen(names: Iterable[str], only_half: set[str], wholes: set[str]) -> Iterator[onnx.NodeProto]:
    """Yield casts back to float32 for what is read there and exists in float16 only."""
    for name in dict.fromkeys(names):
        if name in only_half:
            wholes.add(name)
            yield _cast(name, back=True)


def _cast(name: str, *, back: bool) -> onnx.NodeProto:
    if back:
        return helper.make_node("Cast", [f"{name}@half"], [name], to=TensorProto.FLOAT)
    return helper.make_node("Cast", [name], [f"{name}@half"], to=TensorProto.FLOAT16)


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    floats = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return floats | {weight.name for weight in graph.initializer if weight.data_type == TensorProto.FLOAT}
