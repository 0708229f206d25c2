"""Networks as ONNX files: bytes damaged, and graphs changed so that they stay valid ONNX but become hostile."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from care_live.model.checks import ALLOWED_OPS
from fuzzing.damage import Case, Files, damage_bytes
from fuzzing.networks import restore_with
from fuzzing.target import Target, write_files
from tests.make.networks import save_network

_NAME = "network.onnx"
_OPERATORS = sorted(ALLOWED_OPS)
_SIZES = (0, -1, 1, 7, 300, 65536, 2**31 - 1, 2**40)


class Networks:
    """Changes graphs twice as often as bytes: most damaged bytes are no protobuf any more."""

    def originals(self, folder: Path) -> Sequence[Files]:
        paths = [save_network(folder / f"{ndim}d.onnx", ndim=ndim, filters=2) for ndim in (2, 3)]
        paths.append(save_network(folder / "ensemble.onnx", ndim=2, members=2, filters=2))
        return [{_NAME: path.read_bytes()} for path in paths]

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        if chance.random() < 0.33:
            return damage_bytes(sound, chance, _NAME)
        network = onnx.load_model_from_string(sound[_NAME])
        change = chance.choice(_CHANGES)
        change(network.graph, chance)
        return Case(sound, {_NAME: network.SerializeToString()}, f"{change.__name__.strip('_')} {_NAME}")

    def read(self, case: Case, folder: Path) -> None:
        write_files(case.files, folder)
        restore_with(folder / _NAME)


# -- changes ----------------------------------------------------------------------------------------------------


def _other_operator(graph: onnx.GraphProto, chance: random.Random) -> None:
    chance.choice(graph.node).op_type = chance.choice(_OPERATORS)


def _other_attribute(graph: onnx.GraphProto, chance: random.Random) -> None:
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    attribute = chance.choice(attributes)
    if attribute.ints:
        attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(_SIZES)
    else:
        attribute.i = chance.choice(_SIZES)


def _other_weight(graph: onnx.GraphProto, chance: random.Random) -> None:
    """Change numbers or the shape of one weight."""
    tensor = chance.choice(graph.initializer)
    values = numpy_helper.to_array(tensor).copy()
    if values.dtype.kind == "f" and values.size and chance.random() < 0.5:
        values.flat[chance.randrange(values.size)] = chance.choice((np.inf, np.nan, 3e38, -3e38, 1e-45))
    elif values.dtype.kind == "i" and values.size:
        values.flat[chance.randrange(values.size)] = chance.choice(_SIZES)
    else:
        values = np.atleast_1d(values)[..., : chance.randrange(3)]
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _other_wire(graph: onnx.GraphProto, chance: random.Random) -> None:
    """Connect an input to another tensor."""
    node = chance.choice([node for node in graph.node if node.input])
    names = [name for other in graph.node for name in (*other.input, *other.output)]
    node.input[chance.randrange(len(node.input))] = chance.choice(names)


def _fewer_nodes(graph: onnx.GraphProto, chance: random.Random) -> None:
    del graph.node[chance.randrange(len(graph.node))]


def _declared_shape(graph: onnx.GraphProto, chance: random.Random) -> None:
    value = chance.choice([*graph.input, *graph.output])
    dims = value.type.tensor_type.shape.dim
    chance.choice(dims).dim_value = chance.choice(_SIZES)


def _bomb(graph: onnx.GraphProto, chance: random.Random) -> None:
    """Add to an output the sum of something huge, whose size is computed in floats where no checker follows."""
    first = graph.output[0].name
    last = next(node for node in graph.node if first in node.output)
    last.output[list(last.output).index(first)] = "before"
    size = chance.choice((10_000, 40_000, 100_000))
    graph.initializer.append(numpy_helper.from_array(np.array([np.sqrt(size)], np.float32), "root"))
    graph.node.append(helper.make_node("Mul", ["root", "root"], ["float_size"]))
    graph.node.append(helper.make_node("Cast", ["float_size"], ["size"], to=onnx.TensorProto.INT64))
    chance.choice(_GROWTHS)(graph)
    graph.node.append(helper.make_node("ReduceMax", ["huge"], ["peak"], keepdims=0))
    graph.node.append(helper.make_node("Add", ["before", "peak"], [first]))


def _filled(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Concat", ["size", "size"], ["shape"], axis=0))
    graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["huge"]))


def _expanded(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Concat", ["size", "size"], ["shape"], axis=0))
    graph.node.append(helper.make_node("Expand", ["root", "shape"], ["huge"]))


def _tiled(graph: onnx.GraphProto) -> None:
    graph.initializer.append(numpy_helper.from_array(np.zeros(10_000, np.float32), "row"))
    graph.node.append(helper.make_node("Tile", ["row", "size"], ["huge"]))


def _ranged(graph: onnx.GraphProto) -> None:
    graph.initializer.append(numpy_helper.from_array(np.array(0.0, np.float32), "zero"))
    graph.initializer.append(numpy_helper.from_array(np.array(1e-4, np.float32), "step"))
    graph.node.append(helper.make_node("ReduceMax", ["float_size"], ["end"], keepdims=0))
    graph.node.append(helper.make_node("Range", ["zero", "end", "step"], ["huge"]))


def _multiplied(graph: onnx.GraphProto) -> None:
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    graph.node.append(helper.make_node("Concat", ["size", "one"], ["tall"], axis=0))
    graph.node.append(helper.make_node("Concat", ["one", "size"], ["wide"], axis=0))
    graph.node.append(helper.make_node("Expand", ["root", "tall"], ["column"]))
    graph.node.append(helper.make_node("Expand", ["root", "wide"], ["line"]))
    graph.node.append(helper.make_node("MatMul", ["column", "line"], ["huge"]))


_GROWTHS: tuple[Callable[[onnx.GraphProto], None], ...] = (_filled, _expanded, _tiled, _ranged, _multiplied)
_CHANGES: tuple[Callable[[onnx.GraphProto, random.Random], None], ...] = (
    _other_operator, _other_attribute, _other_weight, _other_wire, _fewer_nodes, _declared_shape, _bomb,
)  # fmt: skip


def target() -> Target:
    return Networks()
