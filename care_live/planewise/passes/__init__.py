"""The passes of the compiler: each is a function from a program to a program that computes the same.

A pass changes which operations are done and in which order sums are taken, but never the result, except for rounding:
``run(pass(p)) ≈ run(p)``. They run in the order of `PASSES`; ``print(program)`` shows a program between two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import TypeAlias

from care_live.planewise.ir import Program
from care_live.planewise.passes.expand import expand
from care_live.planewise.passes.expand_softplus import expand_softplus
from care_live.planewise.passes.outline_tail import outline_tail
from care_live.planewise.passes.pack_planes import pack_planes
from care_live.planewise.passes.share_products import share_products
from care_live.planewise.passes.split_rows import split_rows

Pass: TypeAlias = Callable[[Program], Program]

PASSES: tuple[Pass, ...] = (pack_planes, share_products, expand, split_rows, outline_tail, expand_softplus)
"""Thin planes are packed first: what lies in blocks has no products left to share."""


def optimise(program: Program) -> Program:
    """Return the program after all passes; it has no plane sums any more."""
    return reduce(lambda done, apply: apply(done), PASSES, program)
