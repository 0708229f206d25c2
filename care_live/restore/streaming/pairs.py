"""Two neighbouring planes of a convolution for less work: what both need is multiplied once.

With inputs d₀ … d₃ and kernel planes g₀, g₁, g₂ two outputs want six products. Minimal filtering takes four::

    d₀g₀ + d₁g₁ + d₂g₂ = (d₀ - d₂) g₀ + m + n      m = (d₁ + d₂) (g₀ + g₁ + g₂) / 2
    d₁g₀ + d₂g₁ + d₃g₂ = (d₃ - d₁) g₂ + m - n      n = (d₂ - d₁) (g₀ - g₁ + g₂) / 2

Where planes were upsampled along z, d₁ is d₂: n vanishes, and three products are left of four. Sums of
planes cost time in memory, so that it pays for wide convolutions only.

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
_PASS = 60
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
    wait : the first plane may wait for what only the second one needs
    """
    shared = Shared()
    for part in dict.fromkeys(term.part for term in (*first.values(), *second.values())):
        mine, other = ({n: term for n, term in terms.items() if term.part == part} for terms in (first, second))
        both = [name for name in mine if name in other]
        found = None
        if len(both) == 1:
            found = _share_one(planes, mine, other, both[0])
        elif len(both) == 2 and wait:
            found = _share_two(planes, mine, other, both)
        shared += found or Shared(first=tuple(mine.values()), second=tuple(other.values()))
    return shared


def _share_one(planes: Planes, first: Terms, second: Terms, name: str) -> Shared | None:
    """Share an upsampled plane: ``x·a + u·b`` is ``x (a + b) + (u - x) b``."""
    (x, a, _), c = first[name], second[name].kernel
    if len(first) != 2 or len(second) != 2 or not _pays(a, n_saved=1, n_in=1.5, n_out=1):
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


def _share_two(planes: Planes, first: Terms, second: Terms, names: list[str]) -> Shared | None:
    """Share two planes of three; at the ends of the stack one of the others is zero."""
    (d1, g1, _), (d2, g2, _) = (first[name] for name in names)
    g0, n_plain = second[names[0]].kernel, len(first) + len(second)
    if second[names[1]].kernel.name != g1.name or not _pays(g1, n_saved=n_plain - 4, n_in=n_plain - 2, n_out=2):
        return None
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


def _pays(kernel: Kernel, *, n_saved: int, n_in: float, n_out: float) -> bool:
    """Return whether products saved outweigh planes moved, for each pixel."""
    c_out, c_in = kernel.weight.shape[:2]
    return n_saved > 0 and n_saved * kernel.weight.size >= _PASS * (n_in * c_in + n_out * c_out)


def _combined(sign: int, g0: Kernel, g1: Kernel, g2: Kernel) -> Kernel:
    """Return ``(g0 ± g1 + g2) / 2``."""
    weight: NDArray[np.float64] = (g0.weight.astype(np.float64) + sign * g1.weight + g2.weight) / 2
    return Kernel(f"({g0.name}{sign:+d}{g1.name}+{g2.name})/2", weight.astype(np.float32))


def _change(planes: Planes, plus: list[Value], minus: Value, kernel: Kernel) -> Term:
    """Multiply the difference of two planes, of which the one in front may be zero."""
    value, sign = planes.difference(plus[0], minus) if plus else (minus, -1)
    return Term(value, kernel if sign > 0 else Kernel(f"-{kernel.name}", -kernel.weight))
