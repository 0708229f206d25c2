"""How much memory a network needs for each pixel that it reads, counted from its graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from care_live.model import file, sizes
from care_live.model.card import ModelCard
from care_live.planewise import peak
from care_live.planewise.plan import WHOLE_PLANES, NotPlanewise, plan_whole

WORKSPACE = 1.6
"""Convolutions want other memory layouts and arenas round up. Measured over counted: 1.03 for the default network,
1.22 for five of them in one graph; 1.48 and 1.52 for two-dimensional ones."""
_WORKSPACE_OF_STEPS = 1.2
"""The same plane by plane: 1.02 to 1.20, one member and five, 16 to 64 planes. The sessions themselves come on top
(25 to 70 MiB, 140 to 510 for five): they do not grow with the field, and the budget leaves memory for them."""
_N_PLANES = WHOLE_PLANES // 2
"""Per pixel, fewer planes take more: 248 bytes measured at 16, 218 at 32, 215 at 64 (five members 296 and 278)."""
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
    elements = _sizes(proto, [1, card.n_inputs, *space])
    n_px = math.prod(space)
    kept = {value.name for value in [*proto.graph.input, *proto.graph.output]}
    alive = peak.most_alive([(node.input, node.output) for node in proto.graph.node], elements, kept)
    return Footprint(WORKSPACE * _BYTES * alive / n_px, max(elements.values(), default=n_px) / n_px)


def _planewise(proto: Any, card: ModelCard, space: list[int]) -> Footprint | None:
    """Count what is alive in a step of few planes, or return None where planes cannot be distinguished."""
    if card.axes != "ZYX":
        return None
    n_planes = -(-_N_PLANES // card.divisor[0]) * card.divisor[0]
    planned = plan_whole(proto, (1, card.n_inputs, n_planes, *space))
    if isinstance(planned, NotPlanewise):
        return None
    n_px = n_planes * math.prod(space)
    largest = max(math.prod(op.output.shape) for op in planned.program.operations)
    return Footprint(_WORKSPACE_OF_STEPS * planned.peak_bytes / n_px, largest / n_px)


def _sizes(proto: Any, shape: list[int]) -> dict[str, int]:
    """Return the elements of every tensor but the weights."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    names = [value.name for value in proto.graph.input if value.name not in weights]
    shapes = dict.fromkeys(names[1:], (shape[1],)) | {names[0]: tuple(shape)}
    found = sizes.refuse_large(proto, shapes, "the network")
    return {name: math.prod(size) for name, size in found.items() if name not in weights}
