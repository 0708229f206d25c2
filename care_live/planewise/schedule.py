"""Cut a program into steps by the arrival of planes; what one step leaves to later ones are its caches.

Steps in the middle of a stack do the same work at another place: they share one graph.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from care_live.planewise import peak
from care_live.planewise.ir import Attributes, Constant, Op, Operand, Plane, Program, Shape, planes_read

Line: TypeAlias = tuple[str, tuple[str, ...], str, Attributes]
"""Operator, inputs, output, attributes."""


@dataclass(frozen=True, slots=True)
class StepGraph:
    """What one kind of step computes; planes carry neutral names, constants their own."""

    lines: tuple[Line, ...]
    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]


@dataclass(frozen=True, slots=True)
class ScheduledStep:
    """One run of one graph."""

    after: int
    """Recorded planes that must be there."""
    graph: StepGraph
    inputs: tuple[int, ...]
    """Planes of the program, by number, as `graph.inputs`."""
    outputs: tuple[int, ...]
    """Planes of the program, by number, as `graph.outputs`."""
    last_use: tuple[int, ...]
    """Planes that no later step needs."""
    products: int
    """Multiplications."""
    peak: int
    """Elements of all values alive at the worst moment of the run, inputs and outputs included."""


def live_boundaries(n_planes: int, step: int) -> tuple[int, ...]:
    """Return after how many planes each step runs while a stack is recorded.

    Everything that can be done without the last plane is done before it comes.

    Examples
    --------
    >>> live_boundaries(10, 4)
    (4, 8, 9, 10)
    """
    return tuple(sorted({*range(step, n_planes, step), max(1, n_planes - 1), n_planes}))


def whole_boundaries(n_planes: int, step: int) -> tuple[int, ...]:
    """Return the same for a stack that is there already.

    Examples
    --------
    >>> whole_boundaries(10, 4)
    (4, 8, 10)
    """
    return (*range(step, n_planes, step), n_planes)


def steps(program: Program, boundaries: Sequence[int]) -> tuple[ScheduledStep, ...]:
    """Cut a program into steps.

    A sum is computed in one go, when it is complete. In a live program, what the last step would have to do and
    what can be done earlier is done as early as possible: the result is wanted soon after the last plane.

    Parameters
    ----------
    boundaries
        After how many recorded planes each step runs, ascending; the last one is the stack's number of planes.
    """
    makers = {op.output.number: op for op in program.operations}
    work: list[list[Op]] = [[] for _ in boundaries]
    for op in program.operations:
        if not op.cheap:
            work[_when(op, boundaries, live=program.target.live)].append(op)
    parts = [
        (after, _with_cheap(part, makers))
        for after, ops in zip(boundaries, work, strict=True)
        for part in _by_outline(ops)
    ]
    return _linked(program, parts)


def _by_outline(ops: list[Op]) -> Iterable[list[Op]]:
    """Return what is done in the step's own graph, then each outline of it."""
    parts: dict[int, list[Op]] = {0: []}
    for op in ops:
        parts.setdefault(op.outline, []).append(op)
    return parts.values()


def _when(op: Op, boundaries: Sequence[int], *, live: bool) -> int:
    """Return in which step an operation is done."""
    due = bisect_left(boundaries, op.due)
    early = live and due == len(boundaries) - 1
    return bisect_left(boundaries, op.output.ready) if early else due


def _with_cheap(ops: list[Op], makers: dict[int, Op]) -> list[Op]:
    """Put every cheap operation that a step needs in front of its first use."""
    complete: list[Op] = []
    done: set[int] = set()

    def add(op: Op) -> None:
        for plane in planes_read(op):
            maker = makers.get(plane.number)
            if maker is not None and maker.cheap and plane.number not in done:
                add(maker)
        done.add(op.output.number)
        complete.append(op)

    for op in ops:
        add(op)
    return complete


def _linked(program: Program, parts: Sequence[tuple[int, list[Op]]]) -> tuple[ScheduledStep, ...]:
    """Find what each step takes from earlier ones and leaves to later ones."""
    needed = {plane.number for planes in program.results.values() for plane in planes}
    peaks: dict[StepGraph, int] = {}
    linked: list[ScheduledStep] = []
    for after, ops in reversed(parts):
        made = {op.output.number for op in ops}
        read = {plane.number: plane for op in ops for plane in planes_read(op)}
        taken = [plane for number, plane in read.items() if number not in made]
        left = [op.output for op in ops if op.output.number in needed]
        gone = tuple(plane.number for plane in taken if plane.number not in needed)
        graph = _graph(ops, taken, left)
        if graph not in peaks:
            peaks[graph] = _peak(ops, [*taken, *left])
        products = sum([op.products for op in ops])
        inputs, outputs = (tuple([plane.number for plane in planes]) for planes in (taken, left))
        linked.append(ScheduledStep(after, graph, inputs, outputs, gone, products, peaks[graph]))
        needed.update(inputs)
    return tuple(reversed(linked))


def _graph(ops: list[Op], taken: Sequence[Plane], left: Sequence[Plane]) -> StepGraph:
    neutral = {plane.number: f"in{i}" for i, plane in enumerate(taken)}
    neutral |= {op.output.number: f"v{i}" for i, op in enumerate(ops)}
    neutral |= {plane.number: f"out{i}" for i, plane in enumerate(left)}
    lines = [
        (op.kind, tuple([_name(entry, neutral) for entry in op.inputs]), neutral[op.output.number], op.attributes)
        for op in ops
    ]
    inputs, outputs = (tuple([(neutral[plane.number], plane.shape) for plane in planes]) for planes in (taken, left))
    return StepGraph(tuple(lines), inputs, outputs)


def _name(entry: Operand, neutral: Mapping[int, str]) -> str:
    if isinstance(entry, Constant):
        return entry.name
    return "" if entry is None else neutral[entry.number]


def _peak(ops: list[Op], kept: Sequence[Plane]) -> int:
    """Return the most elements that are alive at once; constants have no size."""
    nodes = [([plane.number for plane in planes_read(op)], (op.output.number,)) for op in ops]
    sizes = {plane.number: math.prod(plane.shape) for op in ops for plane in (*planes_read(op), op.output)}
    return peak.most_alive(nodes, sizes, {plane.number for plane in kept})
