"""From an ONNX file to the network at one size: shapes known, constants folded, z found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray

from care_live.model import rewrite
from care_live.planewise.ir import Shape

Z = -3
"""The axis of the planes: (n, c, z, y, x), perhaps with more axes in front."""
RANK = 5


class Unstreamable(Exception):  # noqa: N818 - a verdict with its reason, caught where the plan is made
    """This network cannot run plane by plane; the message gives the reason. The caller then restores whole volumes."""


@dataclass(frozen=True, slots=True)
class NetworkNode:
    """One operation of the network."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SizedNetwork:
    """A graph whose every size is known."""

    nodes: tuple[NetworkNode, ...]
    """In computing order."""
    constants: Mapping[str, NDArray[Any]]
    shapes: Mapping[str, Shape]
    moving: frozenset[str]
    """Tensors (…, 1, c, z, y, x) that depend on the planes; all others are the same for every plane."""
    outputs: tuple[str, ...]
    opset: int

    def n_planes(self, tensor: str) -> int:
        return self.shapes[tensor][Z]

    def plane_shape(self, tensor: str) -> Shape:
        shape = self.shapes[tensor]
        return (*shape[:Z], *shape[Z + 1 :])


def read(model: onnx.ModelProto, shape: Shape) -> SizedNetwork:
    """Return the network for one input size.

    Parameters
    ----------
    shape : (1, c, z, y, x) of the input raw

    Raises
    ------
    Unstreamable
        It has inputs other than raw, low and high, or a tensor without planes depends on them.
    ModelError
        The size does not fit the graph.
    """
    inputs = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    if inputs != {"raw", "low", "high"}:
        raise Unstreamable(f"its inputs are {', '.join(sorted(inputs))}, not raw, low and high")
    ends = dict.fromkeys(("low", "high"), (shape[1],))
    fixed = rewrite.fold_batch_norm(rewrite.with_shapes(model, {"raw": shape, **ends}))
    shapes = rewrite.shapes_of(fixed)
    nodes = tuple(_node(node) for node in fixed.graph.node)
    return SizedNetwork(
        nodes,
        rewrite.constants(fixed),
        shapes,
        _moving(nodes, shapes),
        tuple(output.name for output in fixed.graph.output),
        next(entry.version for entry in fixed.opset_import if entry.domain in ("", "ai.onnx")),
    )


def _node(node: onnx.NodeProto) -> NetworkNode:
    if node.domain not in ("", "ai.onnx"):
        raise Unstreamable(f"{node.op_type} is an operation of the foreign domain {node.domain}")
    return NetworkNode(node.op_type, tuple(node.input), tuple(node.output), rewrite.attributes(node))


def _moving(nodes: tuple[NetworkNode, ...], shapes: Mapping[str, Shape]) -> frozenset[str]:
    """Find every tensor that depends on raw; each must have planes."""
    moving = {"raw"}
    for node in nodes:
        if not moving.intersection(node.inputs):
            continue
        for output in node.outputs:
            shape = shapes.get(output)
            if shape is None or len(shape) < RANK or shape[-RANK] != 1:
                raise Unstreamable(f"{node.op} gives {output} of shape {shape}, which is not a row of planes")
            moving.add(output)
    return frozenset(moving)
