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
takes a quarter of a product's time.

References
----------
Winograd, Arithmetic Complexity of Computations, SIAM (1980); Lavin and Gray, CVPR (2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from care_live.restore.streaming.planes import Planes
from care_live.restore.streaming.program import Value
from care_live.restore.streaming.sums import Kernel, Term

Terms = Mapping[str, Term]
_PASS = 75
"""Multiplications that take as long as moving one value through memory (Xeon with AVX-512, two cores)."""
_EQUAL = 1e-6
"""Kernels that differ by less, relative to their largest weight, are the same."""


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


def share(planes: Planes, first: Terms, second: Terms, *, wait: bool) -> Shared:
    """Split the terms of two neighbouring planes.

    Parameters
    ----------
    first, second : by the name of the plane that each term reads
    wait : the first plane may wait for what only the second one needs, and what they share may be kept meanwhile
    """
    shared = Shared()
    for part in dict.fromkeys(term.part for term in (*first.values(), *second.values())):
        mine, other = ({n: term for n, term in terms.items() if term.part == part} for terms in (first, second))
        shared += _share_part(planes, mine, other, wait=wait)
    return shared


def _share_part(planes: Planes, first: Terms, second: Terms, *, wait: bool) -> Shared:
    """Share what reads planes of one tensor, in the way that saves most."""
    both = [name for name in first if name in second]
    found = None
    if len(both) == 1:
        found = _share_one(planes, first, second, both[0])
    elif wait and len(both) == 2 and _four_are_best(first, second, both):
        found = _share_four(planes, first, second, both)
    elif wait:
        found = _share_sums(planes, first, second, both)
    return found or Shared(first=tuple(first.values()), second=tuple(second.values()))


def _share_one(planes: Planes, first: Terms, second: Terms, name: str) -> Shared | None:
    """Share an upsampled plane: ``x·a + u·b`` is ``x (a + b) + (u - x) b``."""
    (x, a, _), c = first[name], second[name].kernel
    if len(first) != 2 or len(second) != 2 or _gain(a, n_saved=1, n_in=1.5, n_out=1) < 0:
        return None
    [(u, b, _)], [(v, d, _)] = _apart(first, [name]), _apart(second, [name])
    both = a.weight + b.weight
    if np.abs(both - (c.weight + d.weight)).max() > _EQUAL * np.abs(both).max():
        return None
    return Shared(
        same=(Term(x, Kernel(f"{a.name}+{b.name}", both)),),
        first=(_change(planes, [u], x, b),),
        second=(_change(planes, [v], x, d),),
    )


def _share_sums(planes: Planes, first: Terms, second: Terms, names: list[str]) -> Shared | None:
    """Share neighbouring planes, two by two, of which the same kernel plane reads one and then the other."""
    same, mine, other = [], dict(first), dict(second)
    for early, late in zip(names[::2], names[1::2], strict=False):
        kernel = first[early].kernel
        if _are_neighbours(first, second, early, late) and _gain(kernel, n_saved=1, n_in=1, n_out=1) > 0:
            same.append(Term(planes.total(first[early].value, first[late].value), kernel))
            del mine[early], other[late]
            mine[late], other[early] = _without(first[late], kernel), _without(second[early], kernel)
    return Shared(tuple(same), first=tuple(mine.values()), second=tuple(other.values())) if same else None


def _are_neighbours(first: Terms, second: Terms, early: str, late: str) -> bool:
    """Return whether the second output reads the late plane as the first one reads the early plane."""
    return second[late].kernel.name == first[early].kernel.name


def _without(term: Term, kernel: Kernel) -> Term:
    return Term(term.value, Kernel(f"{term.kernel.name}-{kernel.name}", term.kernel.weight - kernel.weight))


def _four_are_best(first: Terms, second: Terms, names: list[str]) -> bool:
    """Return whether four products and their many sums take less time than five, or than all of them."""
    kernel, n_plain = first[names[0]].kernel, len(first) + len(second)
    five = _gain(kernel, n_saved=1, n_in=1, n_out=1)
    four = _gain(kernel, n_saved=n_plain - 4, n_in=n_plain - 2, n_out=2)
    return _are_neighbours(first, second, *names) and four > max(five, 0)


def _share_four(planes: Planes, first: Terms, second: Terms, names: list[str]) -> Shared:
    """Share two planes of three; at the ends of the stack one of the others is zero."""
    (d1, g1, _), (d2, g2, _) = (first[name] for name in names)
    g0 = second[names[0]].kernel
    even, odd = (_combined(sign, g0, g1, g2) for sign in (1, -1))
    d0, d3 = ([term.value for term in _apart(terms, names)] for terms in (first, second))
    return Shared(
        same=(Term(planes.total(d1, d2), even),),
        opposed=(_change(planes, [d2], d1, odd),),
        first=(_change(planes, d0, d2, g0),),
        second=(_change(planes, d3, d1, g2),),
    )


def _apart(terms: Terms, names: list[str]) -> list[Term]:
    return [term for name, term in terms.items() if name not in names]


def _gain(kernel: Kernel, *, n_saved: int, n_in: float, n_out: float) -> float:
    """Return multiplications saved less those that could be done while planes are moved, for each pixel."""
    c_out, c_in = kernel.weight.shape[:2]
    gain: float = n_saved * kernel.weight.size - _PASS * (n_in * c_in + n_out * c_out)
    return gain


def _combined(sign: int, g0: Kernel, g1: Kernel, g2: Kernel) -> Kernel:
    """Return ``(g0 ± g1 + g2) / 2``."""
    weight: NDArray[np.float64] = (g0.weight.astype(np.float64) + sign * g1.weight + g2.weight) / 2
    return Kernel(f"({g0.name}{sign:+d}{g1.name}+{g2.name})/2", weight.astype(np.float32))


def _change(planes: Planes, plus: list[Value], minus: Value, kernel: Kernel) -> Term:
    """Multiply the difference of two planes, of which the one in front may be zero."""
    value, sign = planes.difference(plus[0], minus) if plus else (minus, -1)
    return Term(value, kernel if sign > 0 else Kernel(f"-{kernel.name}", -kernel.weight))
