"""Even and odd rows apart: what follows the last upsampling is done on two halves of each plane.

Rows come in pairs of equals there, and a convolution takes two products instead of three
(`care_live.planewise.passes.row_kernels`). Whatever is added to such rows is computed in the same form: a
convolution of a whole plane steps over every second row, one of rows that are apart takes each row of its
kernel to the half on which it falls. So nothing but results of few channels is put together again. After an
earlier upsampling it would cost more than it saves: the next one reads whole planes. In a live program, where each step
has few planes, it would not pay either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.ir import Constant, Op, Operand, Plane, Program, Shape, planes_read
from care_live.planewise.passes import row_kernels
from care_live.planewise.passes.row_kernels import Rows, RowTerm

_WIDE = 16
"""Channels from which on products cost more than moving planes."""
_IN_PLACE = frozenset({"Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Softplus"})
"""Operators that leave every row where it is, and read nothing else."""
_SIDES = ("even", "odd")


class RowProduct(NamedTuple):
    """A convolution that is written when its sum is."""

    op: Op
    term: RowTerm
    side: int
    bias: tuple[Operand, ...]


RowAddend: TypeAlias = Plane | RowProduct


class RowSum(NamedTuple):
    """What is still to be added up; what others read, too, comes first."""

    even: tuple[RowAddend, ...]
    odd: tuple[RowAddend, ...]


class _Inseparable(Exception):  # noqa: N818 - a verdict, caught in `split_rows`
    """Something is added to rows that are apart that cannot be computed so."""


def split_rows(program: Program) -> Program:
    """Return a program that keeps rows apart after the last upsampling, or the given one where that cannot be."""
    if program.target.live:
        return program
    try:
        separate = _Separation(program).find()
    except _Inseparable:
        return program
    return _Splitting(program, separate).program() if separate else program


class _Separation:
    """Finds the planes whose rows are kept apart."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._makers = {op.output.number: op for op in program.operations}
        self._height = max((op.output.shape[2] for op in program.operations if op.kind == "Resize"), default=0)
        self._found: set[int] = set()

    def find(self) -> frozenset[int]:
        """Return their numbers; raise `_Inseparable`."""
        n_before = -1
        while n_before < len(self._found):
            n_before = len(self._found)
            for op in self._program.operations:
                if op.output.number in self._found:
                    self._require_operands(op)
                elif self._repeats(op) or self._follows(op):
                    self._found.add(op.output.number)
        return frozenset(self._found)

    def _repeats(self, op: Op) -> bool:
        """Return whether an operation is the last upsampling, and by two along y."""
        if op.kind != "Resize" or op.output.shape[2] != self._height:
            return False
        factors = op.inputs[2]
        assert isinstance(factors, Constant)
        return op.output.shape[1] >= _WIDE and int(self._program.constants[factors.name][2]) == 2

    def _follows(self, op: Op) -> bool:
        """Return whether rows stay apart in an operation on rows that are."""
        if not any(plane.number in self._found for plane in planes_read(op)):
            return False
        if op.kind == "Conv":
            return self._keeps_height(op)
        return (op.kind == "Add" or op.kind in _IN_PLACE) and op.output.shape[1] >= _WIDE

    def _require_operands(self, op: Op) -> None:
        """Mark all that is added to rows that are apart."""
        for entry in op.inputs if op.kind == "Add" else ():
            if not isinstance(entry, Plane):
                raise _Inseparable
            if entry.number not in self._found and not self._can_be_added(entry, op.output.shape):
                raise _Inseparable
            self._found.add(entry.number)

    def _can_be_added(self, plane: Plane, shape: Shape) -> bool:
        maker = self._makers.get(plane.number)
        if maker is None or plane.shape != shape:
            return False
        steps = maker.kind == "Conv" and _n_rows(maker) > 1 and self._keeps_height(maker)
        return steps or maker.kind == "Add"

    def _keeps_height(self, op: Op) -> bool:
        placing, n_rows = dict(op.attributes), _n_rows(op)
        pads = placing.get("pads", (0,) * 4)
        plain = placing.get("strides", (1, 1)) == (1, 1) and pads[0] == pads[2] == n_rows // 2
        return plain and n_rows % 2 == 1 and op.output.shape[2] % 2 == 0


class _Splitting:
    """Writes the program anew; what is not kept apart stays as it is."""

    def __init__(self, program: Program, separate: frozenset[int]) -> None:
        self._source, self._separate = program, separate
        self._builder = ProgramBuilder(program.target, program)
        self._due = {op.output.number: op.due for op in program.operations}
        self._n_readers = Counter(plane.number for op in program.operations for plane in planes_read(op))
        self._rows: dict[int, Rows] = {}
        self._sums: dict[int, RowSum] = {}
        self._joined: set[int] = set()

    def program(self) -> Program:
        for op in self._source.operations:
            if op.output.number in self._separate:
                self._way(op)(op)
            else:
                self._join(planes_read(op))
                self._builder.copy(op)
        self._join(plane for planes in self._source.results.values() for plane in planes)
        return self._builder.program(self._source.results)

    def _way(self, op: Op) -> Callable[[Op], None]:
        if op.kind == "Resize":
            return self._repeat
        if op.kind == "Conv" and _n_rows(op) > 1:
            return self._convolve
        if op.kind == "Add" and any(plane.number in self._sums for plane in planes_read(op)):
            return self._add
        return self._alike

    def _repeat(self, op: Op) -> None:
        """Upsample along x alone."""
        low, _, factors = op.inputs
        assert isinstance(low, Plane)
        assert isinstance(factors, Constant)
        self._join([low])
        once = self._builder.value(factors) * np.array([1, 1, 0.5, 1], np.float32)
        both = self._put(op, [low, None, self._builder.constant(f"{factors.name}@rows", once)])
        self._rows[op.output.number] = Rows(both, both)

    def _alike(self, op: Op) -> None:
        """Do with odd rows what is done with even ones."""
        even, odd = ([self._side(entry, side) for entry in op.inputs] for side in (0, 1))
        first = self._put(op, even)
        self._rows[op.output.number] = Rows(first, first if even == odd else self._put(op, odd))

    def _side(self, entry: Operand, side: int) -> Operand:
        if isinstance(entry, Plane) and entry.number in self._separate:
            return self._both(entry)[side]
        return entry

    def _convolve(self, op: Op) -> None:
        plane, kernel = op.inputs[:2]
        assert isinstance(plane, Plane)
        assert isinstance(kernel, Constant)
        weight: NDArray[np.float32] = self._builder.value(kernel)
        if plane.number in self._separate:
            rows = self._both(plane)
            even, odd = (row_kernels.gathered(rows, weight, side) for side in (0, 1))
        else:
            whole = self._builder.newest(plane)
            even, odd = ([row_kernels.stepping(whole, weight, side)] for side in (0, 1))
        self._sums[op.output.number] = RowSum(_products(op, even, 0), _products(op, odd, 1))

    def _add(self, op: Op) -> None:
        """Go on with sums that only this operation reads; what was there first stays in front."""
        total = [self._open(plane) for plane in reversed(planes_read(op))]
        even, odd = (sorted(chain(*(part[side] for part in total)), key=_is_product) for side in (0, 1))
        self._sums[op.output.number] = RowSum(tuple(even), tuple(odd))

    def _open(self, plane: Plane) -> RowSum:
        if plane.number in self._sums and self._n_readers[plane.number] == 1:
            return self._sums.pop(plane.number)
        even, odd = self._both(plane)
        return RowSum((even,), (odd,))

    def _both(self, plane: Plane) -> Rows:
        """Return the rows of a plane; if it is a sum still, add it up."""
        if plane.number in self._sums:
            even, odd = self._sums.pop(plane.number)
            due = self._due[plane.number]
            self._rows[plane.number] = Rows(self._total(even, due), self._total(odd, due))
        return self._rows[plane.number]

    def _total(self, addends: tuple[RowAddend, ...], due: int) -> Plane:
        total, *others = map(self._written, addends)
        for addend in others:
            total = self._builder.add("Add", [addend, total], total.shape, due=due)
        return total

    def _written(self, addend: RowAddend) -> Plane:
        """Write a product."""
        if isinstance(addend, Plane):
            return addend
        op, term, side, bias = addend
        kernel = op.inputs[1]
        assert isinstance(kernel, Constant)
        placing, shape = dict(op.attributes), _half(op.output.shape)
        _, left, _, right = placing["pads"]
        placing |= {"strides": (term.step, 1), "pads": (term.above, left, term.below, right)}
        weight = self._builder.constant(f"{kernel.name}@{_SIDES[side]}{term.half}", term.weight)
        products = term.weight.size * shape[2] * shape[3] // placing.get("group", 1)
        inputs = [term.plane, weight, *bias]
        return self._builder.add("Conv", inputs, shape, attributes=placing, due=op.due, products=products)

    def _join(self, planes: Iterable[Plane]) -> None:
        """Put rows together again, as the plane that they were."""
        for plane in planes:
            if plane.number not in self._separate or plane.number in self._joined:
                continue
            self._joined.add(plane.number)
            n, c, y, x = shape = plane.shape
            due = self._due[plane.number]
            wide = self._builder.add(
                "Concat", self._both(plane), (n, c, y // 2, 2 * x), attributes={"axis": 3}, due=due
            )
            size = self._builder.constant("size_" + "x".join(map(str, shape)), np.array(shape, np.int64))
            self._builder.add("Reshape", [wide, size], shape, output=plane, due=due)

    def _put(self, op: Op, inputs: Sequence[Operand]) -> Plane:
        """Do an operation on one half."""
        return self._builder.add(
            op.kind,
            inputs,
            _half(op.output.shape),
            attributes=op.attributes,
            due=op.due,
            cheap=op.cheap,
            products=op.products // 2,
        )


def _n_rows(op: Op) -> int:
    """Return the number of rows of a convolution's kernel."""
    kernel = op.inputs[1]
    assert kernel is not None
    return kernel.shape[2]


def _products(op: Op, terms: Sequence[RowTerm], side: int) -> tuple[RowProduct, ...]:
    """Return the products that one half is the sum of; the bias goes to the first of them."""
    return tuple(RowProduct(op, term, side, op.inputs[2:] if i == 0 else ()) for i, term in enumerate(terms))


def _is_product(addend: RowAddend) -> bool:
    return isinstance(addend, RowProduct)


def _half(shape: Shape) -> Shape:
    n, c, y, x = shape
    return n, c, y // 2, x
