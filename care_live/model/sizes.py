"""The size of every tensor of a network, for one size of its inputs, before anything runs it.

A graph may compute sizes: of a shape, by arithmetic. That arithmetic is done here, exactly as onnxruntime does it, with
a few operators on small whole numbers. A size that comes out of anything else, such as the images, is refused: the
memory of a run would be unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ModelError
from care_live.imports import need

Shape: TypeAlias = tuple[int, ...]

_WORDS = """
Abs Add Cast Ceil Concat Constant ConstantOfShape Div Equal Expand Floor Gather Greater GreaterOrEqual Identity Less
LessOrEqual Max Min Mod Mul Neg Not Range Reshape Round Shape Size Slice Squeeze Sub Transpose Unsqueeze Where
"""
ARITHMETIC = frozenset(_WORDS.split())
"""Operators by which sizes may be computed."""
_WITHOUT_SIGN = frozenset({"Div", "Mod"})
"""Libraries round negative quotients differently."""
_COMPUTES = frozenset({"Abs", "Add", "Cast", "Ceil", "Div", "Floor", "Mod", "Mul", "Neg", "Range", "Round", "Sub"})
"""The others only move numbers, or compare them."""
_FEW = 1024
"""Numbers in one tensor of sizes."""
_LARGEST_NUMBER = 2.0**31
_NOTHING = "care_live: nothing"
_TYPES = frozenset({"int64", "int32", "float32", "float64", "bool"})

LARGEST_TENSOR = 2**31 - 1
"""Elements that one tensor may have; libraries count them in 32 bits."""
LARGEST_PER_PX = 2048
"""Elements of one tensor for each pixel of the largest input: twice the most filters that a network may have."""
LARGEST_TABLE = 2**24
"""Elements of a tensor that any network may have, however small its input."""
MOST_PRODUCTS_PER_PX = 10**8
"""Multiplications for each pixel of the largest input: a thousand times those of the default network."""
MOST_NODES = 20_000


class SizeMismatchError(ModelError):
    """This size of the inputs does not fit the graph; another one may."""


def refuse_large(network: Any, shapes: Mapping[str, Sequence[int]], name: str) -> dict[str, Shape]:
    """Return the size of every tensor; refuse a network that needs far more memory or time than restoration does.

    Parameters
    ----------
    network : an ONNX model
    shapes : of every input
    name : of the network, for error messages

    Raises
    ------
    SizeMismatchError
        The inputs do not fit the graph.
    ModelError
        A tensor is too large, or an operator that is not allowed computes its size; the message names them.
    """
    if len(network.graph.node) > MOST_NODES:
        raise ModelError(f"{name} has {len(network.graph.node)} layers: a restoration network has at most {MOST_NODES}")
    n_px = max((math.prod(shape) for shape in shapes.values()), default=1)
    most = min(LARGEST_TENSOR, max(LARGEST_TABLE, LARGEST_PER_PX * n_px))
    walk, n_products = _Walk(network, shapes, name), 0
    for node in network.graph.node:
        for output in walk.step(node):
            if (n := math.prod(walk.shapes[output])) > most:
                raise ModelError(f"{name} makes a tensor {output!r} of {n} elements from {n_px} pixels: too large")
        n_products += _products(node, walk.shapes)
        if n_products > MOST_PRODUCTS_PER_PX * max(n_px, 2**12):
            raise ModelError(f"{name} multiplies more than {n_products // n_px} times for a pixel: too slow")
    return walk.shapes


class _Walk:
    """From layer to layer, with the sizes of all tensors so far and the values of those that may be sizes."""

    def __init__(self, network: Any, shapes: Mapping[str, Sequence[int]], name: str) -> None:
        self._name = name
        self._onnx = need("onnx", extra="cpu")
        self._evaluator = need("onnx.reference", extra="cpu").ReferenceEvaluator
        self._opsets = list(network.opset_import)
        self._ir_version = network.ir_version
        self._version = max((one.version for one in self._opsets if one.domain in {"", "ai.onnx"}), default=1)
        self._types: dict[str, Any] = {}
        self._values: dict[str, NDArray[Any]] = {}
        self.shapes: dict[str, Shape] = {}
        for value in network.graph.input:
            if value.name in shapes:
                self._learn(value.name, value.type.tensor_type.elem_type, tuple(shapes[value.name]))
        for tensor in network.graph.initializer:
            self._learn(tensor.name, tensor.data_type, tuple(tensor.dims))
            if math.prod(tensor.dims) <= _FEW:
                self._remember(tensor.name, self._onnx.numpy_helper.to_array(tensor))

    def step(self, node: Any) -> list[str]:
        """Take one layer; return the tensors that it makes."""
        types = {}
        for name in filter(None, node.input):
            if name not in self._types:
                raise ModelError(f"{self._name} reads {name!r} in {node.op_type} before anything makes it")
            types[name] = self._types[name]
        if twice := [name for name in node.output if name in self._types]:
            raise ModelError(f"{self._name} makes {twice[0]!r} twice")
        for output, made in self._inferred(node, types).items():
            self._learn(output, made.tensor_type.elem_type, self._sizes_of(made, node, output))
        self._evaluate(node)
        return [name for name in node.output if name in self.shapes]

    def _inferred(self, node: Any, types: Mapping[str, Any]) -> dict[str, Any]:
        data = {
            name: self._onnx.numpy_helper.from_array(self._values[name], name) for name in types if name in self._values
        }
        try:
            schema = self._onnx.defs.get_schema(node.op_type, self._version, node.domain)
            found: dict[str, Any] = self._onnx.shape_inference.infer_node_outputs(
                schema,
                self._with_every_input(node, schema),
                {**types, _NOTHING: self._onnx.helper.make_tensor_type_proto(1, (0,))},
                data,
                opset_imports=self._opsets,
                ir_version=self._ir_version,
            )
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            raise SizeMismatchError(f"{self._name} is inconsistent in {node.op_type}: {said}") from error
        return {name: found[name] for name in node.output if name and name in found}

    def _with_every_input(self, node: Any, schema: Any) -> Any:
        """Return the node with something in place of inputs that old operators demand and exporters leave out."""
        demanded = [formal.option == schema.FormalParameterOption.Single for formal in schema.inputs]
        if not any(wanted and not name for wanted, name in zip(demanded, node.input, strict=False)):
            return node
        copy = type(node).FromString(node.SerializeToString())
        for i, (wanted, name) in enumerate(zip(demanded, node.input, strict=False)):
            copy.input[i] = _NOTHING if wanted and not name else name
        return copy

    def _sizes_of(self, made: Any, node: Any, output: str) -> Shape:
        tensor = made.tensor_type
        dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
        if not tensor.HasField("shape") or min(dims, default=0) < 0:
            raise ModelError(
                f"{self._name} computes the size of {output!r} in {node.op_type} from something else than the sizes of "
                "its input, or by more than plain arithmetic: its memory cannot be known before it runs"
            )
        return tuple(dims)

    def _learn(self, name: str, element: int, shape: Shape) -> None:
        self.shapes[name] = shape
        self._types[name] = self._onnx.helper.make_tensor_type_proto(element, shape)

    def _evaluate(self, node: Any) -> None:
        """Compute small numbers that depend on sizes and constants alone."""
        names, outputs = [name for name in node.input if name], [name for name in node.output if name]
        small = all(math.prod(self.shapes.get(name, (_FEW + 1,))) <= _FEW for name in outputs)
        if node.op_type not in ARITHMETIC or not small:
            return
        if node.op_type in {"Shape", "Size"}:
            self._remember(node.output[0], self._measured(node))
        elif all(name in self._values for name in names):
            values = {name: self._values[name] for name in names}
            if node.op_type in _COMPUTES and not all(map(_is_exact, values.values())):
                return
            self._refuse_other_quotients(node, values)
            for name, value in zip(outputs, self._computed(node, values), strict=True):
                self._remember(name, np.asarray(value))

    def _refuse_other_quotients(self, node: Any, values: Mapping[str, NDArray[Any]]) -> None:
        """Refuse divisions that libraries round differently, or that crash them."""
        if node.op_type in _WITHOUT_SIGN and (
            any((value < 0).any() for value in values.values()) or not values[node.input[1]].all()
        ):
            raise ModelError(f"{self._name} computes a size by {node.op_type} of a negative number or by zero")

    def _computed(self, node: Any, values: Mapping[str, NDArray[Any]]) -> list[Any]:
        helper = self._onnx.helper
        infos = [
            [helper.make_value_info(name, self._types[name]) for name in names if name]
            for names in (values, node.output)
        ]
        graph = helper.make_graph([node], "sizes", *infos)
        alone = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._version)], ir_version=10)
        try:
            with np.errstate(all="ignore"):
                found: list[Any] = self._evaluator(alone).run(None, dict(values))
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            raise SizeMismatchError(f"{self._name} is inconsistent in {node.op_type}: {said}") from error
        return found

    def _measured(self, node: Any) -> NDArray[np.int64]:
        shape = self.shapes[node.input[0]]
        if node.op_type == "Size":
            return np.array(math.prod(shape), np.int64)
        bounds = {one.name: one.i for one in node.attribute}
        return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)

    def _remember(self, name: str, value: NDArray[Any]) -> None:
        if value.dtype.name in _TYPES:
            self._values[name] = value


def _is_exact(value: NDArray[Any]) -> bool:
    """Return whether every library computes alike with these numbers: finite, and far from where types overflow."""
    return not value.size or bool(np.abs(value.astype(np.float64)).max() < _LARGEST_NUMBER)


def _products(node: Any, shapes: Mapping[str, Shape]) -> int:
    """Return the multiplications of one layer, those of windows included."""
    made = math.prod(shapes.get(node.output[0], ()))
    if node.op_type in {"Conv", "ConvTranspose"}:
        weight = shapes[node.input[1]]
        return (made if node.op_type == "Conv" else math.prod(shapes[node.input[0]])) * math.prod(weight[1:])
    if node.op_type == "MatMul":
        return made * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        return made * max(shapes[node.input[0]])
    window = [one.ints for one in node.attribute if one.name == "kernel_shape"]
    return made * math.prod(window[0]) if window else made


def fields(network: Any) -> Iterator[dict[str, Shape]]:
    """Yield sizes of the inputs to try: the graph's own where it has them, small multiples of usual divisors else."""
    weights = {tensor.name for tensor in network.graph.initializer}
    inputs = [value for value in network.graph.input if value.name not in weights]
    channels = next((d[1] for d in map(_dims, inputs) if len(d) >= 3 and d[1]), 1)
    for side in (64, 96, 160, 256):
        yield {value.name: _filled(_dims(value), channels, side) for value in inputs}


def _dims(value: Any) -> Shape:
    if not value.type.tensor_type.HasField("shape"):
        raise ModelError(f"the network's input {value.name!r} has no shape: export it again")
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _filled(dims: Shape, channels: int, side: int) -> Shape:
    """Fill in free dimensions of (n, c, …space) or (c,)."""
    free = (channels,) if len(dims) == 1 else (1, channels, *(side,) * len(dims))[: len(dims)]
    return tuple(size or free[axis] for axis, size in enumerate(dims))
