"""What follows the last convolutions becomes a small graph of its own that the planes share, and go through one by one.

The mixture of an ensemble takes a thousand operations for each plane. Written out for all planes of a volume they are
three quarters of its graph, and onnxruntime takes as long to open that as to restore a volume. No operation changes:
each is only marked with the outline that it belongs to, and two outlines have nothing in common but what is the same
for every plane.
"""

from __future__ import annotations

from collections import Counter

from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.ir import Op, Program, planes_read

_FEWEST = 64
"""Operations that are worth a graph of their own: to begin a run takes as long as some of them."""
_MIXING = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "Resize", "Concat", "Reshape"})
"""Operations that read more than one pixel, or put planes together."""
_FUSED = frozenset({"Add", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Softplus", "Elu"})
"""Operations that onnxruntime may do while it writes the convolution in front of them."""


def outline_tail(program: Program) -> Program:
    """Return the program with its tails marked."""
    if not (outlines := _outlines(program)):
        return program
    builder = ProgramBuilder(program.target, program)
    for op in program.operations:
        builder.copy(op._replace(outline=outlines.get(op.output.number, 0)))
    return builder.program(program.results)


def _outlines(program: Program) -> dict[int, int]:
    """Return the outline of each operation behind the last convolutions, by the number of its output."""
    behind = _behind(program)
    leaders: dict[int, int] = {}
    for op in behind:
        number = op.output.number
        leaders[number] = number
        for plane in planes_read(op):
            if plane.number in leaders:
                leaders[_leader(leaders, plane.number)] = number
    found = {op.output.number: _leader(leaders, op.output.number) for op in behind if not op.cheap}
    sizes = Counter(found.values())
    return {number: leader for number, leader in found.items() if sizes[leader] >= _FEWEST}


def _behind(program: Program) -> list[Op]:
    """Return the operations on planes that only operations of their kind read."""
    before = _fused(program)
    behind = []
    for op in reversed(program.operations):
        if op.output.number in before or not op.output.ready:
            before.update(plane.number for plane in planes_read(op))
        else:
            behind.append(op)
    return behind[::-1]


def _fused(program: Program) -> set[int]:
    """Return what convolutions and their like make, and what is done to it while it is written."""
    fused: set[int] = set()
    for op in program.operations:
        follows = op.kind in _FUSED and any(plane.number in fused for plane in planes_read(op))
        if op.kind in _MIXING or follows:
            fused.add(op.output.number)
    return fused


def _leader(leaders: dict[int, int], number: int) -> int:
    """Return the operation that stands for all that hang together with this one."""
    while leaders[number] != number:
        leaders[number] = number = leaders[leaders[number]]
    return number
