"""Even and odd rows apart: what follows the last upsampling is done on two halves of each plane.

Rows come in pairs of equals there, and a convolution takes two products instead of three
(`care_live.restore.streaming.row_kernels`). Whatever is added to such rows is computed in the same form: a
convolution of a whole plane steps over every second row, one of rows that are apart takes each row of its
kernel to the half on which it falls. So nothing but results of few channels is put together again. After an
earlier upsampling it would cost more than it saves: the next one reads whole planes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.restore.streaming import row_kernels
from care_live.restore.streaming.network import Shape
from care_live.restore.streaming.program import Operation, Program, Value, without_dead
from care_live.restore.streaming.row_kernels import Rows, Term

_WIDE = 16
"""Channels from which on products cost more than moving planes."""
_IN_PLACE = frozenset({"Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Softplus"})
"""Operations that leave every row where it is, and read nothing else."""


class Product(NamedTuple):
    """A convolution that is written when its sum is."""

    operation: Operation
    term: Term
    name: str
    bias: tuple[str, ...]


Addend: TypeAlias = Value | Product


class Sum(NamedTuple):
    """What is still to be added up; what others read, too, comes first."""

    even: tuple[Addend, ...]
    odd: tuple[Addend, ...]


class _Inseparable(Exception):  # noqa: N818 - a verdict, caught in `apart`
    """Something is added to rows that are apart that cannot be computed so."""


def apart(program: Program) -> Program:
    """Return a program that keeps rows apart after the last upsampling, or the given one where that cannot be."""
    try:
        separate = _Separation(program).find()
    except _Inseparable:
        return program
    return _Splitting(program, separate).program() if separate else program


class _Separation:
    """Finds the values whose rows are kept apart."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._makers = {operation.output.name: operation for operation in program.operations}
        self._height = max((o.output.shape[2] for o in program.operations if o.op == "Resize"), default=0)
        self._found: set[str] = set()

    def find(self) -> frozenset[str]:
        """Return their names; raise `_Inseparable`."""
        n_before = -1
        while n_before < len(self._found):
            n_before = len(self._found)
            for operation in self._program.operations:
                if operation.output.name in self._found:
                    self._require_operands(operation)
                elif self._repeats(operation) or self._follows(operation):
                    self._found.add(operation.output.name)
        return frozenset(self._found)

    def _repeats(self, operation: Operation) -> bool:
        """Return whether an operation is the last upsampling, and by two along y."""
        if operation.op != "Resize" or operation.output.shape[2] != self._height:
            return False
        factors = self._program.constants[operation.inputs[2]]
        return operation.output.shape[1] >= _WIDE and int(factors[2]) == 2

    def _follows(self, operation: Operation) -> bool:
        """Return whether rows stay apart in an operation on rows that are."""
        if self._found.isdisjoint(operation.inputs):
            return False
        if operation.op == "Conv":
            return self._keeps_height(operation)
        return (operation.op == "Add" or operation.op in _IN_PLACE) and operation.output.shape[1] >= _WIDE

    def _require_operands(self, operation: Operation) -> None:
        """Mark all that is added to rows that are apart."""
        for name in operation.inputs if operation.op == "Add" else ():
            if name not in self._found and not self._can_be_added(self._makers.get(name), operation.output.shape):
                raise _Inseparable
            self._found.add(name)

    def _can_be_added(self, maker: Operation | None, shape: Shape) -> bool:
        if maker is None or maker.output.shape != shape:
            return False
        steps = maker.op == "Conv" and self._n_rows(maker) > 1 and self._keeps_height(maker)
        return steps or maker.op == "Add"

    def _keeps_height(self, operation: Operation) -> bool:
        placing, n_rows = dict(operation.attributes), self._n_rows(operation)
        pads = placing.get("pads", (0,) * 4)
        plain = placing.get("strides", (1, 1)) == (1, 1) and pads[0] == pads[2] == n_rows // 2
        return plain and n_rows % 2 == 1 and operation.output.shape[2] % 2 == 0

    def _n_rows(self, operation: Operation) -> int:
        return len(self._program.constants[operation.inputs[1]][0, 0])


class _Splitting:
    """Writes the program anew; what is not kept apart stays as it is."""

    def __init__(self, program: Program, separate: frozenset[str]) -> None:
        self._source, self._separate = program, separate
        self._target = Program([], program.constants, program.inputs, program.results)
        self._makers = {operation.output.name: operation for operation in program.operations}
        self._n_readers = Counter(name for operation in program.operations for name in operation.inputs)
        self._rows: dict[str, Rows] = {}
        self._sums: dict[str, Sum] = {}
        self._joined: set[str] = set()

    def program(self) -> Program:
        for operation in self._source.operations:
            if operation.output.name in self._separate:
                self._way(operation)(operation)
            else:
                self._join(operation.inputs)
                self._target.operations.append(operation)
        self._join(value.name for planes in self._source.results.values() for value in planes)
        return without_dead(self._target)

    def _way(self, operation: Operation) -> Callable[[Operation], None]:
        if operation.op == "Resize":
            return self._repeat
        if operation.op == "Conv" and self._weight(operation).shape[2] > 1:
            return self._convolve
        if operation.op == "Add" and not self._sums.keys().isdisjoint(operation.inputs):
            return self._add
        return self._alike

    def _repeat(self, operation: Operation) -> None:
        """Upsample along x alone."""
        low, _, factors = operation.inputs
        self._join([low])
        once = self._source.constants[factors] * np.array([1, 1, 0.5, 1], np.float32)
        inputs: list[Value | str] = [self._value(low), "", self._target.constant(f"{factors}@rows", once)]
        both = self._put(operation, inputs, f"{operation.output.name}@rows")
        self._rows[operation.output.name] = Rows(both, both)

    def _alike(self, operation: Operation) -> None:
        """Do with odd rows what is done with even ones."""
        sides = [self._both(name) if name in self._separate else (name, name) for name in operation.inputs]
        even, odd = ([rows[side] for rows in sides] for side in (0, 1))
        name = operation.output.name
        first = self._put(operation, even, f"{name}@even")
        self._rows[name] = Rows(first, first if even == odd else self._put(operation, odd, f"{name}@odd"))

    def _convolve(self, operation: Operation) -> None:
        weight, name = self._weight(operation), operation.inputs[0]
        if name in self._separate:
            given = self._both(name)
            even, odd = (row_kernels.gathered(given, weight, side) for side in (0, 1))
        else:
            even, odd = ([row_kernels.stepping(self._value(name), weight, side)] for side in (0, 1))
        self._sums[operation.output.name] = Sum(_products(operation, even, "even"), _products(operation, odd, "odd"))

    def _add(self, operation: Operation) -> None:
        """Go on with sums that nobody else reads; what was there first stays in front."""
        total = [self._open(name) for name in reversed(operation.inputs)]
        even, odd = (sorted(chain(*(part[side] for part in total)), key=_is_product) for side in (0, 1))
        self._sums[operation.output.name] = Sum(tuple(even), tuple(odd))

    def _open(self, name: str) -> Sum:
        if name in self._sums and self._n_readers[name] == 1:
            return self._sums.pop(name)
        even, odd = self._both(name)
        return Sum((even,), (odd,))

    def _both(self, name: str) -> Rows:
        """Return the rows of a value; if it is a sum still, add it up."""
        if name in self._sums:
            even, odd = self._sums.pop(name)
            self._rows[name] = Rows(self._total(even, name, "even"), self._total(odd, name, "odd"))
        return self._rows[name]

    def _total(self, addends: tuple[Addend, ...], name: str, side: str) -> Value:
        total, *others = map(self._written, addends)
        for i, addend in enumerate(others):
            total = self._target.add(
                "Add", [addend, total], f"{name}@{side}+{i}", total.shape, due=self._makers[name].due
            )
        return total

    def _written(self, addend: Addend) -> Value:
        """Write a product."""
        if isinstance(addend, Value):
            return addend
        operation, term, name, bias = addend
        placing, shape = dict(operation.attributes), _half(operation.output.shape)
        _, left, _, right = placing["pads"]
        placing |= {"strides": (term.step, 1), "pads": (term.above, left, term.below, right)}
        key = self._target.constant(f"{operation.inputs[1]}@{name.rpartition('@')[2]}{term.half}", term.weight)
        products = term.weight.size * shape[2] * shape[3] // placing.get("group", 1)
        inputs: list[Value | str] = [term.value, key, *bias]
        return self._target.add("Conv", inputs, name, shape, attributes=placing, due=operation.due, products=products)

    def _join(self, names: Iterable[str]) -> None:
        """Put rows together again, under the name that the plane had."""
        for name in names:
            if name not in self._separate or name in self._joined:
                continue
            self._joined.add(name)
            n, c, y, x = shape = self._value(name).shape
            pairs, due = (n, c, y // 2, 2 * x), self._makers[name].due
            wide = self._target.add("Concat", self._both(name), f"{name}@pairs", pairs, attributes={"axis": 3}, due=due)
            size = self._target.constant("size_" + "x".join(map(str, shape)), np.array(shape, np.int64))
            self._target.add("Reshape", [wide, size], name, shape, due=due)

    def _put(self, operation: Operation, inputs: Sequence[Value | str], name: str) -> Value:
        """Do an operation on one half."""
        return self._target.add(
            operation.op,
            inputs,
            name,
            _half(operation.output.shape),
            attributes=dict(operation.attributes),
            due=operation.due,
            cheap=operation.cheap,
            products=operation.products // 2,
        )

    def _value(self, name: str) -> Value:
        return self._makers[name].output if name in self._makers else self._source.inputs[name]

    def _weight(self, operation: Operation) -> NDArray[np.float32]:
        weight: NDArray[np.float32] = self._source.constants[operation.inputs[1]]
        return weight


def _products(operation: Operation, terms: Sequence[Term], side: str) -> tuple[Product, ...]:
    """Return the products that one half is the sum of; the bias goes to the first of them."""
    names = (f"{operation.output.name}/{i}@{side}" for i in range(len(terms)))
    biases = (operation.inputs[2:] if i == 0 else () for i in range(len(terms)))
    return tuple(Product(operation, *of) for of in zip(terms, names, biases, strict=True))


def _is_product(addend: Addend) -> bool:
    return isinstance(addend, Product)


def _half(shape: Shape) -> Shape:
    n, c, y, x = shape
    return n, c, y // 2, x
