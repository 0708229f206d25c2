"""Exact rewritings of an ONNX network: the same function, easier to read or with less work.

Every function takes a model and returns another one; the one it was given stays as it was. None of them
runs the network. Sums may be taken in another order, so results agree to float32 rounding, not bitwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from care_live.errors import ModelError
from care_live.model.graph import copied, set_nodes, set_weights
from care_live.model.onnx_builder import OnnxBuilder

Array = NDArray[Any]

_MOST_FOLDED = 1 << 24
"""A constant expression of more elements than this stays an expression."""
_MOST_EXPANDED = 1 << 10
"""The same for one value written over and over."""


def with_shapes(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """Return the model for one input size, with every shape inferred and every constant expression folded.

    Parameters
    ----------
    shapes : of every input, by name

    Raises
    ------
    ModelError
        The model has no such input, or the sizes contradict its graph.
    """
    fixed = copied(model)
    inputs = {value.name: value for value in fixed.graph.input}
    for name, shape in shapes.items():
        if name not in inputs:
            raise ModelError(f"the network has no input {name}, it has {', '.join(inputs)}")
        element = inputs[name].type.tensor_type.elem_type
        inputs[name].CopyFrom(helper.make_tensor_value_info(name, element, list(shape)))
    _forget_shapes(fixed.graph)
    while True:
        inferred = _inferred(fixed)
        fixed = fold_constants(inferred)
        if len(fixed.graph.node) == len(inferred.graph.node):
            return fixed


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn every expression of constants and known shapes into a constant, and drop Identity nodes."""
    folded = copied(model)
    known, shapes = constants(folded), shapes_of(folded)
    kept: list[onnx.NodeProto] = []
    for node in folded.graph.node:
        values = _fold(node, known, shapes)
        if values is None:
            kept.append(node)
        else:
            known |= values
            folded.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    set_nodes(folded.graph, _without_identities(kept, {output.name for output in folded.graph.output}))
    return folded


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    """Return the weights and other constants of a graph by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def shapes_of(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return every tensor whose size is fully known."""
    graph = model.graph
    known = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(size.HasField("dim_value") for size in tensor.shape.dim):
            known[value.name] = tuple(size.dim_value for size in tensor.shape.dim)
    return known


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def fold_batch_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put every batch normalisation that follows a convolution alone into that convolution."""
    folded = copied(model)
    known, used = constants(folded), _uses(folded.graph)
    makers = {output: node for node in folded.graph.node for output in node.output}
    kept = []
    for node in folded.graph.node:
        before = makers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if before is None or before.op_type != "Conv" or used[node.input[0]] != 1:
            kept.append(node)
            continue
        _fold_norm(folded.graph, before, node, known)
    set_nodes(folded.graph, kept)
    return folded


def _fold_norm(
    graph: onnx.GraphProto, convolution: onnx.NodeProto, norm: onnx.NodeProto, known: dict[str, Array]
) -> None:
    gain, offset, mean, variance = (known[name] for name in norm.input[1:5])
    weight = known[convolution.input[1]]
    bias = known[convolution.input[2]] if len(convolution.input) > 2 else np.zeros_like(mean)
    factor = gain / np.sqrt(variance + attributes(norm).get("epsilon", 1e-5))
    new = {
        f"{norm.output[0]}_weight": weight * factor.reshape(-1, *(1,) * (weight.ndim - 1)),
        f"{norm.output[0]}_bias": (bias - mean) * factor + offset,
    }
    graph.initializer.extend(numpy_helper.from_array(value.astype(weight.dtype), name) for name, value in new.items())
    del convolution.input[1:]
    convolution.input.extend(new)
    convolution.output[0] = norm.output[0]


def spread_weight(weight: Array, steps: Sequence[int]) -> Array:
    """Return the transposed convolution that equals "nearest upsampling by `steps`, then convolve".

    Parameters
    ----------
    weight : (c_out, c_in, *kernel), odd kernel, padded to the same size

    Returns
    -------
    (c_in, c_out, *kernel + steps - 1), for stride `steps` and padding ``kernel // 2``
    """
    spread = weight
    for axis, step in enumerate(steps):
        spread = np.tensordot(spread, spread_matrix(weight.shape[2 + axis], step), axes=([2], [1]))
    return np.ascontiguousarray(spread.swapaxes(0, 1)).astype(weight.dtype)


def gathered_weight(spread: Array, steps: Sequence[int]) -> Array | None:
    """Undo `spread_weight`, or return None when that transposed convolution is no upsampled convolution."""
    weight = spread.swapaxes(0, 1).astype(np.float64)
    for axis, step in enumerate(steps):
        kernel = spread.shape[2 + axis] - step + 1
        if kernel < 1 or kernel % 2 == 0:
            return None
        inverse = np.linalg.pinv(spread_matrix(kernel, step).astype(np.float64))
        weight = np.tensordot(weight, inverse, axes=([2], [1]))
    gathered = np.ascontiguousarray(weight).astype(spread.dtype)
    error = np.abs(spread_weight(gathered, steps) - spread).max(initial=0)
    return gathered if error <= 1e-6 * np.abs(spread).max(initial=0) else None


def spread_matrix(kernel: int, step: int) -> NDArray[np.float32]:
    """Return which taps t of the convolution meet which tap j of the transposed one, along one axis.

    Upsampled plane n + t - r is low plane i = (n + t - r) // step, and j = n + r - step·i: they meet where
    0 ≤ j + t - 2r < step.
    """
    offset = np.arange(kernel + step - 1)[:, None] + np.arange(kernel) - 2 * (kernel // 2)
    return ((offset >= 0) & (offset < step)).astype(np.float32)


def transpose_decoder(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite every "upsample, join with the skip, convolve" as transposed convolution plus convolution.

    Neither the upsampled nor the joined image is ever made, and in a decoder of pooling 2 and kernel 3 the
    part from below costs 8 instead of 27 products a voxel.
    """
    rewritten = _inferred(model)
    known = constants(rewritten)
    makers = {output: node for node in rewritten.graph.node for output in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in rewritten.graph.node:
        joined = makers.get(node.input[0]) if _keeps_size(node, known) else None
        parts = list(joined.input) if joined is not None and joined.op_type == "Concat" else []
        wide = makers.get(parts[0]) if len(parts) == 2 else None
        split = wide is not None and _repeats(wide, known)
        nodes.extend(_split_convolution(rewritten.graph, node, below=wide, skip=parts[1]) if split else [node])
    set_nodes(rewritten.graph, nodes)
    return without_dead_nodes(rewritten)


def _keeps_size(node: onnx.NodeProto, known: Mapping[str, Array]) -> bool:
    """Return whether a node is a plain convolution with an odd kernel, padded to the same size."""
    if node.op_type != "Conv" or node.input[1] not in known:
        return False
    size, given = known[node.input[1]].shape[2:], attributes(node)
    steps = {*given.get("strides", ()), *given.get("dilations", ()), given.get("group", 1)}
    return steps == {1} and all(n % 2 for n in size) and list(given.get("pads", ())) == [n // 2 for n in size] * 2


def _repeats(node: onnx.NodeProto, known: Mapping[str, Array]) -> bool:
    """Return whether a node writes every pixel a whole number of times."""
    if node.op_type != "Resize" or len(node.input) != 3 or node.input[2] not in known:
        return False
    given, factors = attributes(node), known[node.input[2]]
    way = tuple(given.get(key) for key in ("mode", "coordinate_transformation_mode", "nearest_mode"))
    return way == (b"nearest", b"asymmetric", b"floor") and bool((factors == np.rint(factors)).all())


def _split_convolution(
    graph: onnx.GraphProto, whole: onnx.NodeProto, *, below: onnx.NodeProto, skip: str
) -> list[onnx.NodeProto]:
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weight, steps = known[whole.input[1]], [int(factor) for factor in known[below.input[2]][2:]]
    n_below, name = weight.shape[1] - _n_channels(graph, skip), whole.output[0]
    pads = [size // 2 for size in weight.shape[2:]] * 2
    parts = OnnxBuilder()
    below_weight = parts.constant(spread_weight(weight[:, :n_below], steps), f"{name}_below")
    skip_weight = parts.constant(np.ascontiguousarray(weight[:, n_below:]), f"{name}_skip")
    lifted = parts.add("ConvTranspose", below.input[0], below_weight, output=f"{name}_lifted", strides=steps, pads=pads)
    plain = parts.add("Conv", skip, skip_weight, *whole.input[2:], output=f"{name}_plain", pads=pads)
    parts.add("Add", lifted, plain, output=name)
    graph.initializer.extend(parts.constants)
    return parts.nodes


def _n_channels(graph: onnx.GraphProto, tensor: str) -> int:
    for value in (*graph.value_info, *graph.input):
        if value.name == tensor:
            return int(value.type.tensor_type.shape.dim[1].dim_value)
    raise ModelError(f"the network's graph has no number of channels for {tensor}: export it again")


def without_dead_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop every node and constant that no output needs."""
    pruned = copied(model)
    wanted = {output.name for output in pruned.graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(pruned.graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    set_nodes(pruned.graph, reversed(kept))
    set_weights(pruned.graph, [tensor for tensor in pruned.graph.initializer if tensor.name in wanted])
    return pruned


def _fold(
    node: onnx.NodeProto, known: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Array] | None:
    """Return what a node gives when that is already certain, else None."""
    if node.op_type == "Shape" and node.input[0] in shapes:
        part = slice(attributes(node).get("start", 0), attributes(node).get("end"))
        return {node.output[0]: np.array(shapes[node.input[0]][part], np.int64)}
    if any(name and name not in known for name in node.input):
        return None
    largest = _MOST_EXPANDED if node.op_type == "Expand" else _MOST_FOLDED
    if any(np.prod(shapes.get(name, (1,))) > largest for name in node.output):
        return None
    values = ReferenceEvaluator(node).run(None, {name: known[name] for name in node.input if name})
    return dict(zip(node.output, (np.asarray(value) for value in values), strict=True))


def _without_identities(nodes: Sequence[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """Let readers of an Identity read its source; an output of the graph keeps its name."""
    alias: dict[str, str] = {}
    kept = []
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = alias.get(name, name)
        if node.op_type == "Identity" and node.output[0] not in outputs:
            alias[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    return kept


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"this input size does not fit the network's graph: {' '.join(str(error).split())}") from error


def _forget_shapes(graph: onnx.GraphProto) -> None:
    graph.ClearField("value_info")
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")


def _uses(graph: onnx.GraphProto) -> Counter[str]:
    return Counter([*(name for node in graph.node for name in node.input), *(output.name for output in graph.output)])
