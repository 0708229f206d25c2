"""Two neighbouring planes of a convolution for less work: what both need is multiplied once.

With inputs d₀ … d₃ and kernel planes g₀, g₁, g₂ two outputs want six products. Five will do, with one sum of
planes::

    d₀g₀ + d₁g₁ + d₂g₂ = d₀g₀ + d₂ (g₂ - g₁) + s        s = (d₁ + d₂) g₁
    d₁g₀ + d₂g₁ + d₃g₂ = d₁ (g₀ - g₁) + d₃g₂ + s

Minimal filtering takes four, with six sums of planes::

    d₀g₀ + d₁g₁ + d₂g₂ = (d₀ - d₂) g₀ + m + n      m = (d₁ + d₂) (g₀ + g₁ + g₂) / 2
    d₁g₀ + d₂g₁ + d₃g₂ = (d₃ - d₁) g₂ + m - n      n = (d₂ - d₁) (g₀ - g₁ + g₂) / 2

Where planes were upsampled along z, d₁ is d₂: n vanishes, and three products are left of four. Sums of
planes cost time in memory, so that four products pay for the widest convolutions only: with 32 channels a sum
takes a quarter of a product's time. In a live program the first plane does not wait for the second.

References
----------
Winograd, Arithmetic Complexity of Computations, SIAM (1980); Lavin and Gray, CVPR (2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.ir import Kernel, Op, Plane, PlaneSum, Program, Term

Terms: TypeAlias = Mapping[int, Term]
"""By the number of the plane that each reads."""
_PASS = 75
"""Multiplications that take as long as moving one value through memory (Xeon with AVX-512, two cores)."""
_EQUAL = 1e-6
"""Kernels that differ by less, relative to their largest weight, are the same."""


def share_products(program: Program) -> Program:
    """Return the program with products of neighbouring planes shared where that takes less time."""
    return _Sharing(program).program()


@dataclass(frozen=True, slots=True)
class Shared:
    """What two planes have in common, and what is left for each."""

    same: tuple[Term, ...] = ()
    """Adds to both."""
    opposed: tuple[Term, ...] = ()
    """Adds to the first, is taken from the second."""
    first: tuple[Term, ...] = ()
    second: tuple[Term, ...] = ()

    def __add__(self, other: Shared) -> Shared:
        return Shared(
            self.same + other.same,
            self.opposed + other.opposed,
            self.first + other.first,
            self.second + other.second,
        )


class Signed(NamedTuple):
    """A plane, or its negative."""

    plane: Plane
    sign: int


class _Sharing:
    def __init__(self, program: Program) -> None:
        self._source, self._may_wait = program, not program.target.live
        self._builder = ProgramBuilder(program.target, program)
        self._upsampled: dict[int, Op] = {}
        """What makes an upsampled plane, by its number."""
        self._differences: dict[tuple[int, int], Plane] = {}
        self._sums = {
            (op.layer, op.z): op for op in program.ops if isinstance(op, PlaneSum) and op.layer and op.placing.mixes
        }

    def program(self) -> Program:
        for op in self._source.ops:
            if isinstance(op, PlaneSum) and (op.layer, op.z) in self._sums:
                self._sum(op)
            else:
                self._builder.copy(op)
                if isinstance(op, Op) and op.kind == "Resize":
                    self._upsampled[op.output.number] = op
        return self._builder.program(self._source.results)

    def _sum(self, op: PlaneSum) -> None:
        """Write planes 2i and 2i + 1 when the first of them is met."""
        if op.z % 2:
            return
        pair = [op, *([other] if (other := self._sums.get((op.layer, op.z + 1))) else [])]
        shared = self._share(*map(self._terms, pair)) if len(pair) == 2 else Shared()
        if shared.same:
            self._write(pair[0], pair[1], shared)
        else:
            for one in pair:
                self._builder.copy(one)

    def _terms(self, op: PlaneSum) -> Terms:
        return {term.plane.number: term._replace(plane=self._builder.newest(term.plane)) for term in op.terms}

    def _write(self, first: PlaneSum, second: PlaneSum, shared: Shared) -> None:
        plus = minus = self._builder.sum(first._replace(terms=shared.same, layer=""))
        if shared.opposed:
            opposed = self._builder.sum(first._replace(terms=shared.opposed, bias=None, layer=""))
            plus, minus = self._total(plus, opposed), self._difference(plus, opposed).plane
        for op, terms, known in ((first, shared.first, plus), (second, shared.second, minus)):
            self._builder.sum(op._replace(terms=terms, bias=None, known=known, layer=""), output=op.output)

    # -- what can be shared -----------------------------------------------------------------------------------

    def _share(self, first: Terms, second: Terms) -> Shared:
        """Split the terms of two neighbouring planes."""
        shared = Shared()
        for part in dict.fromkeys(term.part for term in (*first.values(), *second.values())):
            mine, other = ({n: term for n, term in terms.items() if term.part == part} for terms in (first, second))
            shared += self._share_part(mine, other)
        return shared

    def _share_part(self, first: Terms, second: Terms) -> Shared:
        """Share what reads planes of one tensor, in the way that saves most."""
        both = [number for number in first if number in second]
        found = None
        if len(both) == 1:
            found = self._share_one(first, second, both[0])
        elif self._may_wait and len(both) == 2 and _four_are_best(first, second, both):
            found = self._share_four(first, second, both)
        elif self._may_wait:
            found = self._share_sums(first, second, both)
        return found or Shared(first=tuple(first.values()), second=tuple(second.values()))

    def _share_one(self, first: Terms, second: Terms, number: int) -> Shared | None:
        """Share an upsampled plane: ``x·a + u·b`` is ``x (a + b) + (u - x) b``."""
        (x, a, _), c = first[number], second[number].kernel
        if len(first) != 2 or len(second) != 2 or _gain(a, n_saved=1, n_in=1.5, n_out=1) < 0:
            return None
        [(u, b, _)], [(v, d, _)] = _apart(first, [number]), _apart(second, [number])
        both = a.weight + b.weight
        if np.abs(both - (c.weight + d.weight)).max() > _EQUAL * np.abs(both).max():
            return None
        return Shared(
            same=(Term(x, Kernel(f"{a.name}+{b.name}", both)),),
            first=(self._change([u], x, b),),
            second=(self._change([v], x, d),),
        )

    def _share_sums(self, first: Terms, second: Terms, numbers: list[int]) -> Shared | None:
        """Share neighbouring planes, two by two, of which the same kernel plane reads one and then the other."""
        same, mine, other = [], dict(first), dict(second)
        for early, late in zip(numbers[::2], numbers[1::2], strict=False):
            kernel = first[early].kernel
            if _are_neighbours(first, second, early, late) and _gain(kernel, n_saved=1, n_in=1, n_out=1) > 0:
                same.append(Term(self._total(first[early].plane, first[late].plane), kernel))
                del mine[early], other[late]
                mine[late], other[early] = _without(first[late], kernel), _without(second[early], kernel)
        return Shared(tuple(same), first=tuple(mine.values()), second=tuple(other.values())) if same else None

    def _share_four(self, first: Terms, second: Terms, numbers: list[int]) -> Shared:
        """Share two planes of three; at the ends of the stack one of the others is zero."""
        (d1, g1, _), (d2, g2, _) = (first[number] for number in numbers)
        g0 = second[numbers[0]].kernel
        even, odd = (_combined(sign, g0, g1, g2) for sign in (1, -1))
        d0, d3 = ([term.plane for term in _apart(terms, numbers)] for terms in (first, second))
        return Shared(
            same=(Term(self._total(d1, d2), even),),
            opposed=(self._change([d2], d1, odd),),
            first=(self._change(d0, d2, g0),),
            second=(self._change(d3, d1, g2),),
        )

    # -- sums and differences of planes: never kept between steps, rather made again ----------------------------

    def _total(self, first: Plane, second: Plane) -> Plane:
        return self._builder.once("Add", [first, second], first.shape, cheap=True)

    def _difference(self, first: Plane, second: Plane) -> Signed:
        """Return ``first - second``, or the negative where that has been made; of upsampled planes before they were.

        The negative is a convolution of one channel each: unlike Sub it leaves a plane in the memory layout of
        convolutions.
        """
        if (made := self._differences.get((second.number, first.number))) is not None:
            return Signed(made, -1)
        narrow = [self._upsampled.get(plane.number) for plane in (first, second)]
        if narrow[0] and narrow[1] and narrow[0].inputs[1:] == narrow[1].inputs[1:]:
            low, other = (op.inputs[0] for op in narrow if op)
            assert isinstance(low, Plane)
            assert isinstance(other, Plane)
            change = self._difference(self._builder.newest(low), self._builder.newest(other))
            return Signed(self._widened(change.plane, narrow[0]), change.sign)
        c = second.shape[1]
        weight = self._builder.constant(f"minus_{c}", np.full((c, 1, 1, 1), -1, np.float32))
        negative = self._builder.once("Conv", [second, weight], second.shape, attributes={"group": c}, cheap=True)
        made = self._builder.once("Add", [negative, first], first.shape, cheap=True)
        self._differences[first.number, second.number] = made
        return Signed(made, 1)

    def _widened(self, plane: Plane, like: Op) -> Plane:
        """Upsample a plane as another one was."""
        inputs = [plane, *like.inputs[1:]]
        return self._builder.once("Resize", inputs, like.output.shape, attributes=like.attributes, cheap=True)

    def _change(self, plus: list[Plane], minus: Plane, kernel: Kernel) -> Term:
        """Multiply the difference of two planes, of which the one in front may be zero."""
        plane, sign = self._difference(plus[0], minus) if plus else (minus, -1)
        return Term(plane, kernel if sign > 0 else Kernel(f"-{kernel.name}", -kernel.weight))


def _are_neighbours(first: Terms, second: Terms, early: int, late: int) -> bool:
    """Return whether the second output reads the late plane as the first one reads the early plane."""
    return second[late].kernel.name == first[early].kernel.name


def _without(term: Term, kernel: Kernel) -> Term:
    return Term(term.plane, Kernel(f"{term.kernel.name}-{kernel.name}", term.kernel.weight - kernel.weight))


def _four_are_best(first: Terms, second: Terms, numbers: list[int]) -> bool:
    """Return whether four products and their many sums take less time than five, or than all of them."""
    kernel, n_plain = first[numbers[0]].kernel, len(first) + len(second)
    five = _gain(kernel, n_saved=1, n_in=1, n_out=1)
    four = _gain(kernel, n_saved=n_plain - 4, n_in=n_plain - 2, n_out=2)
    return _are_neighbours(first, second, *numbers) and four > max(five, 0)


def _apart(terms: Terms, numbers: list[int]) -> list[Term]:
    return [term for number, term in terms.items() if number not in numbers]


def _gain(kernel: Kernel, *, n_saved: int, n_in: float, n_out: float) -> float:
    """Return multiplications saved less those that could be done while planes are moved, for each pixel."""
    c_out, c_in = kernel.weight.shape[:2]
    gain: float = n_saved * kernel.weight.size - _PASS * (n_in * c_in + n_out * c_out)
    return gain


def _combined(sign: int, g0: Kernel, g1: Kernel, g2: Kernel) -> Kernel:
    """Return ``(g0 ± g1 + g2) / 2``."""
    weight: NDArray[np.float64] = (g0.weight.astype(np.float64) + sign * g1.weight + g2.weight) / 2
    return Kernel(f"({g0.name}{sign:+d}{g1.name}+{g2.name})/2", weight.astype(np.float32))
