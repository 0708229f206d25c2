"""Plane sums become convolutions and additions.

``out = Σ in·K + bias`` is written as ``((in₀·K₀ + bias) + in₁·K₁) + …``, in the order in which the planes arrive.
"""

from __future__ import annotations

from care_live.planewise import conv
from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.ir import PlaneSum, Program


def expand(program: Program) -> Program:
    """Return the program without plane sums."""
    builder = ProgramBuilder(program.target, program)
    for op in program.ops:
        if isinstance(op, PlaneSum):
            conv.expand(builder, op)
        else:
            builder.copy(op)
    return builder.program(program.results)
