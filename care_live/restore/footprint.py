"""How much memory a network needs for each pixel that it reads, counted from its graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from care_live.imports import need
from care_live.model import file
from care_live.model.card import ModelCard
from care_live.restore.streaming.plan import Refused
from care_live.restore.streaming.whole import STEP_PLANES, derive

_WORKSPACE = 2.0
"""Convolutions unfold their input and arenas round up: measured peaks stay below twice the counted ones."""
_WORKSPACE_OF_STEPS = 2.4
"""onnxruntime plans the memory of a step in its first run and takes it beside that run's: 2.0 to 2.2 measured."""
_BYTES = 4


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of one run, for each pixel that the network reads."""

    bytes_per_px: float
    """All tensors alive at the worst moment, and the workspace."""
    values_per_px: float
    """Elements of the largest tensor."""


def measure(path: Path, card: ModelCard, *, planewise: bool = False) -> Footprint:
    """Count the tensors of a network at a small shape and follow which are alive at once.

    Parameters
    ----------
    planewise : volumes are restored plane by plane where the network allows it, as on a CPU
    """
    proto = file.load(path)
    space = [8 * divisor for divisor in card.divisor]
    if planewise and (counted := _planewise(proto, card, space[1:])) is not None:
        return counted
    sizes = _sizes(proto, [1, len(card.channels_in), *space])
    n_px = math.prod(space)
    return Footprint(_WORKSPACE * _BYTES * _peak(proto.graph, sizes) / n_px, max(sizes.values(), default=n_px) / n_px)


def _planewise(proto: Any, card: ModelCard, space: list[int]) -> Footprint | None:
    """Count what is alive in the second of two steps, or return None where planes cannot be told apart."""
    if card.axes != "ZYX":
        return None
    n_planes = -(-2 * STEP_PLANES // card.divisor[0]) * card.divisor[0]
    derived = derive(proto, (1, len(card.channels_in), n_planes, *space))
    if isinstance(derived, Refused):
        return None
    n_px = n_planes * math.prod(space)
    largest = max(math.prod(operation.output.shape) for operation in derived.program.operations)
    return Footprint(_WORKSPACE_OF_STEPS * derived.peak_bytes / n_px, largest / n_px)


def _sizes(proto: Any, shape: list[int]) -> dict[str, int]:
    """Return the elements of every tensor whose shape can be inferred."""
    dimensions = proto.graph.input[0].type.tensor_type.shape.dim
    for dimension, size in zip(dimensions, shape, strict=False):
        dimension.dim_value = size
    inferred = need("onnx.shape_inference", extra="cpu").infer_shapes(proto, data_prop=True).graph
    return {
        value.name: math.prod(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
        for value in [*inferred.value_info, *inferred.input, *inferred.output]
        if all(dimension.HasField("dim_value") for dimension in value.type.tensor_type.shape.dim)
    }


def _peak(graph: Any, sizes: Mapping[str, int]) -> int:
    """Return the most elements alive at once when nodes run in order and tensors die after their last use."""
    last_use = {name: i for i, node in enumerate(graph.node) for name in node.input}
    kept = {value.name for value in graph.output}
    alive = sum(sizes.get(value.name, 0) for value in graph.input)
    peak = alive
    for i, node in enumerate(graph.node):
        alive += sum(sizes.get(name, 0) for name in node.output)
        peak = max(peak, alive)
        alive -= sum(sizes.get(name, 0) for name in set(node.input) if last_use[name] == i and name not in kept)
    return peak
