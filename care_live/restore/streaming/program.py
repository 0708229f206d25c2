"""A network written out plane by plane: values, and the 2D operations between them.

Every value has one maker. ``ready`` says after how many recorded planes it can be computed at the
earliest; ``due`` says when the sum that it belongs to is complete. Between the two it is a matter of taste
when to do the work, and `care_live.restore.streaming.derive` decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live.restore.streaming.network import Shape


class Value(NamedTuple):
    """One plane of one tensor (or a part of its sum), or what is the same for every plane."""

    name: str
    shape: Shape
    """(1, c, y, x) of a plane."""
    ready: int
    """Recorded planes after which it can be computed."""


class Operation(NamedTuple):
    """One 2D operation."""

    op: str
    inputs: tuple[str, ...]
    """Values and constants; empty where an optional input is left out."""
    output: Value
    attributes: tuple[tuple[str, Any], ...]
    due: int
    cheap: bool
    """Rather computed again than kept from one step to the next."""
    products: int
    """Multiplications, for the cost."""


@dataclass(slots=True)
class Program:
    """Operations in computing order."""

    operations: list[Operation] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    inputs: dict[str, Value] = field(default_factory=dict)
    """Planes ``raw@0``, ``raw@1``, …; low and high."""
    results: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    """Of each output of the network, its planes."""

    def input(self, name: str, shape: Shape, ready: int) -> Value:
        return self.inputs.setdefault(name, Value(name, shape, ready))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Keep a constant once; equal names are equal constants."""
        if name not in self.constants:
            self.constants[name] = np.ascontiguousarray(value)
        return name

    def shape(self, operand: Value | str) -> Shape:
        """Return the shape of a value, or of a constant; of an operand that is left out, ()."""
        if isinstance(operand, Value):
            return operand.shape
        return self.constants[operand].shape if operand else ()

    def add(
        self,
        op: str,
        inputs: Sequence[Value | str],
        output: str,
        shape: Shape,
        *,
        attributes: Mapping[str, Any] | None = None,
        due: int = 0,
        cheap: bool = False,
        products: int = 0,
    ) -> Value:
        """Append an operation; a string among its inputs is a constant."""
        ready = max([value.ready for value in inputs if isinstance(value, Value)], default=0)
        value = Value(output, shape, ready)
        names = tuple([entry if isinstance(entry, str) else entry.name for entry in inputs])
        frozen = tuple((key, _frozen(entry)) for key, entry in sorted(attributes.items())) if attributes else ()
        self.operations.append(Operation(op, names, value, frozen, max(ready, due), cheap, products))
        return value


def without_dead(program: Program) -> Program:
    """Drop every operation that no result needs."""
    wanted = {value.name for planes in program.results.values() for value in planes}
    kept = []
    for operation in reversed(program.operations):
        if operation.output.name in wanted:
            kept.append(operation)
            wanted.update(operation.inputs)
    return Program(kept[::-1], program.constants, program.inputs, program.results)


def _frozen(attribute: Any) -> Any:
    return tuple(attribute) if isinstance(attribute, list) else attribute
