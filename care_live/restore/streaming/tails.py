"""What follows the last convolutions, apart: a small graph that the planes share, and go through one by one.

The mixture of an ensemble takes a thousand operations for each plane. Written out for all planes of a volume they are
three quarters of its graph, and onnxruntime takes as long to open that as to restore a volume.
"""

from __future__ import annotations

from collections import Counter

from care_live.restore.streaming.program import Operation, Program

_FEWEST = 64
"""Operations that are worth a graph of their own: to begin a run takes as long as some of them."""
_MIXING = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "Resize", "Concat", "Reshape"})
"""Operations that read more than one pixel, or put planes together."""
_FUSED = frozenset({"Add", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Softplus", "Elu"})
"""Operations that onnxruntime may do while it writes the convolution in front of them."""


def tails(program: Program) -> dict[str, str]:
    """Return for each operation behind the last convolutions, by its output, the name of its tail.

    Operations of two tails have nothing in common but what is the same for every plane, and none but they read them.
    """
    behind = _behind(program)
    leaders: dict[str, str] = {}
    for operation in behind:
        name = operation.output.name
        leaders[name] = name
        for read in operation.inputs:
            if read in leaders:
                leaders[_leader(leaders, read)] = name
    found = {o.output.name: _leader(leaders, o.output.name) for o in behind if not o.cheap}
    sizes = Counter(found.values())
    return {name: tail for name, tail in found.items() if sizes[tail] >= _FEWEST}


def _behind(program: Program) -> list[Operation]:
    """Return the operations on planes that only operations of their kind read."""
    before = _fused(program)
    behind = []
    for operation in reversed(program.operations):
        if operation.output.name in before or not operation.output.ready:
            before.update(operation.inputs)
        else:
            behind.append(operation)
    return behind[::-1]


def _fused(program: Program) -> set[str]:
    """Return what convolutions and their like make, and what is done to it while it is written."""
    fused: set[str] = set()
    for operation in program.operations:
        if operation.op in _MIXING or (operation.op in _FUSED and not fused.isdisjoint(operation.inputs)):
            fused.add(operation.output.name)
    return fused


def _leader(leaders: dict[str, str], name: str) -> str:
    """Return the operation that stands for all that hang together with this one."""
    while leaders[name] != name:
        leaders[name] = name = leaders[leaders[name]]
    return name
