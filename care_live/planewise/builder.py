"""How a program is written: by the frontend from nothing, by every pass as another version of a given one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.planewise.ir import (
    Attributes,
    Constant,
    Op,
    Operand,
    Plane,
    PlaneLayer,
    PlaneSum,
    Program,
    Shape,
    Target,
    planes_read,
)


class ProgramBuilder:
    """Writes a program, from nothing or as another version of a given one.

    A version keeps inputs, constants and layers. An operation of it that makes a plane of the given program takes that
    plane as `output`; whatever reads that plane gets the newest version of it.
    """

    def __init__(self, target: Target, given: Program | None = None) -> None:
        self._target = target
        self._ops: list[Op | PlaneSum] = []
        self._constants: dict[str, NDArray[Any]] = dict(given.constants) if given else {}
        self._inputs: dict[int | str, Plane] = dict(given.inputs) if given else {}
        self.layers: dict[str, PlaneLayer] = dict(given.layers) if given else {}
        self._n_numbers = given.n_numbers if given else 0
        self._newest: dict[int, Plane] = {}
        self._made: dict[Hashable, Plane] = {}
        self.outline = 0
        """Of the operations that are appended from here on."""

    def input(self, key: int | str, shape: Shape, ready: int) -> Plane:
        if key not in self._inputs:
            self._inputs[key] = self._numbered(shape, ready)
        return self._inputs[key]

    def constant(self, name: str, value: NDArray[Any]) -> Constant:
        """Keep a constant once."""
        if name not in self._constants:
            self._constants[name] = np.ascontiguousarray(value)
        return Constant(name, self._constants[name].shape)

    def value(self, constant: Constant) -> NDArray[Any]:
        return self._constants[constant.name]

    def newest(self, plane: Plane) -> Plane:
        """Return the version of a plane that this program has."""
        return self._newest.get(plane.number, plane)

    def add(
        self,
        kind: str,
        inputs: Sequence[Operand],
        shape: Shape,
        *,
        output: Plane | None = None,
        attributes: Mapping[str, Any] | Attributes = (),
        due: int = 0,
        cheap: bool = False,
        products: int = 0,
    ) -> Plane:
        """Append an operation; return what it makes.

        Parameters
        ----------
        output : the plane of the given program that it makes; None: a new one
        """
        given = self._read(inputs)
        ready = max([entry.ready for entry in given if isinstance(entry, Plane)], default=0)
        made = self._out(output, shape, ready)
        frozen = attributes if isinstance(attributes, tuple) else _frozen(attributes)
        self._ops.append(Op(kind, given, made, frozen, max(ready, due), cheap, products, self.outline))
        return made

    def once(
        self,
        kind: str,
        inputs: Sequence[Operand],
        shape: Shape,
        *,
        attributes: Mapping[str, Any] | Attributes = (),
        cheap: bool = False,
        products: int = 0,
    ) -> Plane:
        """Append an operation, or return what the same one has made before."""
        frozen = attributes if isinstance(attributes, tuple) else _frozen(attributes)
        key = (kind, self._read(inputs), frozen)
        if key not in self._made:
            self._made[key] = self.add(kind, inputs, shape, attributes=frozen, cheap=cheap, products=products)
        return self._made[key]

    def sum(self, whole: PlaneSum, *, shape: Shape | None = None, output: Plane | None = None) -> Plane:
        """Append a plane sum; return its plane.

        Parameters
        ----------
        whole : its own output says no more than a shape where `shape` is left out
        output : as for `add`
        """
        terms = tuple([term._replace(plane=self.newest(term.plane)) for term in whole.terms])
        known = None if whole.known is None else self.newest(whole.known)
        read = [term.plane for term in terms] + ([known] if known else [])
        made = self._out(output, shape or whole.output.shape, max([plane.ready for plane in read], default=0))
        self._ops.append(whole._replace(terms=terms, known=known, output=made))
        return made

    def copy(self, op: Op | PlaneSum) -> Plane:
        """Append an operation of the given program; what it reads is the newest."""
        if self._newest.keys().isdisjoint([plane.number for plane in planes_read(op)]):
            self._ops.append(op)
            return op.output
        if isinstance(op, PlaneSum):
            return self.sum(op, output=op.output)
        kind, inputs, output, attributes, due, cheap, products, self.outline = op
        return self.add(
            kind,
            inputs,
            output.shape,
            output=output,
            attributes=attributes,
            due=due,
            cheap=cheap,
            products=products,
        )

    def program(self, results: Mapping[str, Sequence[Plane]]) -> Program:
        """Return the program, without the operations that no result needs."""
        newest = {name: tuple(map(self.newest, planes)) for name, planes in results.items()}
        wanted = {plane.number for planes in newest.values() for plane in planes}
        kept: list[Op | PlaneSum] = []
        for op in reversed(self._ops):
            if op.output.number in wanted:
                kept.append(op)
                wanted.update([plane.number for plane in planes_read(op)])
        return Program(
            tuple(reversed(kept)),
            self._constants,
            self._inputs,
            newest,
            self.layers,
            self._target,
            self._n_numbers,
        )

    def _read(self, inputs: Sequence[Operand]) -> tuple[Operand, ...]:
        if not self._newest:
            return tuple(inputs)
        return tuple([self.newest(entry) if isinstance(entry, Plane) else entry for entry in inputs])

    def _out(self, output: Plane | None, shape: Shape, ready: int) -> Plane:
        if output is None:
            return self._numbered(shape, ready)
        made = Plane(output.number, shape, ready)
        if made != output:
            self._newest[output.number] = made
        return made

    def _numbered(self, shape: Shape, ready: int) -> Plane:
        self._n_numbers += 1
        return Plane(self._n_numbers - 1, shape, ready)


def _frozen(attributes: Mapping[str, Any]) -> Attributes:
    return tuple([(key, tuple(v) if isinstance(v, list) else v) for key, v in sorted(attributes.items())])
