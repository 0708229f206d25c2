"""Cut a program into steps, and write each step as a graph whose caches are inputs and outputs.

Steps in the middle of a stack do the same work at another place: they share one graph.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from care_live.restore.streaming import memory
from care_live.restore.streaming.network import Shape
from care_live.restore.streaming.program import Operation, Program
from care_live.restore.streaming.tails import tails

Line: TypeAlias = tuple[str, tuple[str, ...], str, tuple[tuple[str, Any], ...]]
"""op, inputs, output, attributes."""


@dataclass(frozen=True, slots=True)
class StepGraph:
    """What one kind of step computes; values carry neutral names, constants their own."""

    lines: tuple[Line, ...]
    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One run of one graph."""

    after: int
    """Recorded planes that must be there."""
    graph: StepGraph
    inputs: tuple[str, ...]
    """Values of the program, as `graph.inputs`."""
    outputs: tuple[str, ...]
    """Values of the program, as `graph.outputs`."""
    last_use: tuple[str, ...]
    """Values that no later step needs."""
    products: int
    """Multiplications."""
    peak: int
    """Elements of all values alive at the worst moment of the run, inputs and outputs included."""


def steps(program: Program, boundaries: Sequence[int], *, hurry: bool) -> tuple[Step, ...]:
    """Cut a program into steps.

    A sum is computed in one go, when it is complete. In a hurry, what the last step would have to do and
    what can be done earlier is done as early as possible: after the last plane somebody is waiting.

    Parameters
    ----------
    boundaries
        After how many recorded planes each step runs, ascending; the last one is the stack's number of planes.
    """
    makers = {operation.output.name: operation for operation in program.operations}
    work: list[list[Operation]] = [[] for _ in boundaries]
    for operation in program.operations:
        if not operation.cheap:
            work[_when(operation, boundaries, hurry=hurry)].append(operation)
    apart = tails(program)
    parts = [
        (after, _with_cheap(part, makers))
        for after, operations in zip(boundaries, work, strict=True)
        for part in _parted(operations, apart)
    ]
    return _linked(program, parts)


def _parted(operations: list[Operation], apart: Mapping[str, str]) -> Iterable[list[Operation]]:
    """Return what is done in one graph, then each tail of it."""
    parts: dict[str, list[Operation]] = {"": []}
    for operation in operations:
        parts.setdefault(apart.get(operation.output.name, ""), []).append(operation)
    return parts.values()


def _when(operation: Operation, boundaries: Sequence[int], *, hurry: bool) -> int:
    """Return in which step an operation is done."""
    due = bisect_left(boundaries, operation.due)
    early = hurry and due == len(boundaries) - 1
    return bisect_left(boundaries, operation.output.ready) if early else due


def _with_cheap(operations: list[Operation], makers: dict[str, Operation]) -> list[Operation]:
    """Put every cheap operation that a step needs in front of its first use."""
    complete: list[Operation] = []
    done: set[str] = set()

    def add(operation: Operation) -> None:
        for name in operation.inputs:
            maker = makers.get(name)
            if maker is not None and maker.cheap and name not in done:
                add(maker)
        done.add(operation.output.name)
        complete.append(operation)

    for operation in operations:
        add(operation)
    return complete


def _linked(program: Program, parts: Sequence[tuple[int, list[Operation]]]) -> tuple[Step, ...]:
    """Find what each step takes from earlier ones and leaves to later ones."""
    results = {value.name for planes in program.results.values() for value in planes}
    shapes = {name: value.shape for name, value in program.inputs.items()}
    shapes |= {operation.output.name: operation.output.shape for operation in program.operations}
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    peaks: dict[StepGraph, int] = {}
    needed: set[str] = set(results)
    linked: list[Step] = []
    for after, operations in reversed(parts):
        made = {operation.output.name for operation in operations}
        taken = [name for name in _read(operations, program) if name not in made]
        left = [operation.output.name for operation in operations if operation.output.name in needed]
        gone = tuple(name for name in taken if name not in needed)
        graph = _graph(operations, taken, left, shapes)
        if graph not in peaks:
            peaks[graph] = _peak(operations, sizes, {*taken, *left})
        products = sum([operation.products for operation in operations])
        linked.append(Step(after, graph, tuple(taken), tuple(left), gone, products, peaks[graph]))
        needed.update(taken)
    return tuple(reversed(linked))


def _read(operations: list[Operation], program: Program) -> list[str]:
    """Return all values that operations read, once each, in order."""
    names = dict.fromkeys(name for operation in operations for name in operation.inputs)
    return [name for name in names if name and name not in program.constants]


def _graph(operations: list[Operation], taken: list[str], left: list[str], shapes: Mapping[str, Shape]) -> StepGraph:
    neutral = {name: f"in{i}" for i, name in enumerate(taken)}
    neutral |= {operation.output.name: f"v{i}" for i, operation in enumerate(operations)}
    neutral |= {name: f"out{i}" for i, name in enumerate(left)}
    lines = [
        (o.op, tuple([neutral.get(name, name) for name in o.inputs]), neutral[o.output.name], o.attributes)
        for o in operations
    ]
    inputs, outputs = (tuple((neutral[name], shapes[name]) for name in names) for names in (taken, left))
    return StepGraph(tuple(lines), inputs, outputs)


def _peak(operations: list[Operation], sizes: Mapping[str, int], kept: set[str]) -> int:
    """Return the most elements that are alive at once; constants have no size."""
    return memory.peak([(operation.inputs, (operation.output.name,)) for operation in operations], sizes, kept)
