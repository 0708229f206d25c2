"""Plane sums become convolutions and additions.

``out = Σ in·K + bias`` is written as ``((in₀·K₀ + bias) + in₁·K₁) + …``, in the order in which the planes arrive.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.ir import Kernel, Placing, Plane, PlaneSum, Program, Term

_FEW_CHANNELS = 4
"""Planes of at most this many channels are joined before a convolution: a sum of several convolutions would write its
output several times for hardly any work."""


def expand(program: Program) -> Program:
    """Return the program without plane sums."""
    builder = ProgramBuilder(program.target, program)
    for op in program.ops:
        if isinstance(op, PlaneSum):
            _write_out(builder, op)
        else:
            builder.copy(op)
    return builder.program(program.results)


def _write_out(builder: ProgramBuilder, whole: PlaneSum) -> None:
    """Write a plane sum out: one convolution a term, and additions.

    A sum is computed in one go, as soon as the last of its planes is there. Last comes a product: onnxruntime adds the
    sum, and applies ReLU, while it writes that one.
    """
    terms = [Term(builder.newest(term.plane), *term[1:]) for term in whole.terms]
    known = [] if whole.known is None else [builder.newest(whole.known)]
    summands: list[Term | Plane] = [*known, *_joined(builder, whole.placing, terms)]
    summands.sort(key=_ready)
    due = max(map(_ready, summands))
    if len(summands) == 1:
        _product(builder, whole, summands[0], due=due, bias=True, output=whole.output)
        return
    addends = [_product(builder, whole, summand, due=due, bias=i == 0) for i, summand in enumerate(summands)]
    total = addends[0]
    for addend in addends[1:]:
        output = whole.output if addend is addends[-1] else None
        total = builder.add("Add", [addend, total], whole.output.shape, output=output, due=due)


def _product(
    builder: ProgramBuilder,
    whole: PlaneSum,
    summand: Term | Plane,
    *,
    due: int,
    bias: bool,
    output: Plane | None = None,
) -> Plane:
    """Multiply a term with its kernel; the bias goes to the first of them."""
    if isinstance(summand, Plane):
        return builder.add("Identity", [summand], summand.shape, output=output, due=due) if output else summand
    placing, shape, (plane, (name, weight), _) = whole.placing, whole.output.shape, summand
    pixels = shape if placing.kind == "Conv" else plane.shape
    return builder.add(
        placing.kind,
        [plane, builder.constant(name, weight), *([whole.bias] if bias and whole.bias else [])],
        shape,
        output=output,
        attributes=placing.attributes,
        due=due,
        products=weight.size * pixels[-1] * pixels[-2] // placing.group,
    )


def _ready(summand: Term | Plane) -> int:
    return summand.ready if isinstance(summand, Plane) else summand.plane.ready


def _joined(builder: ProgramBuilder, placing: Placing, terms: Sequence[Term]) -> Sequence[Term]:
    """Join planes of very few channels into one term."""
    if placing.kind != "Conv" or len(terms) < 2 or any(term.plane.shape[1] > _FEW_CHANNELS for term in terms):
        return terms
    n, _, y, x = terms[0].plane.shape
    width = sum(term.plane.shape[1] for term in terms)
    joined = builder.add("Concat", [term.plane for term in terms], (n, width, y, x), attributes={"axis": 1}, cheap=True)
    name = "|".join(term.kernel.name for term in terms)
    return [Term(joined, Kernel(name, np.concatenate([term.kernel.weight for term in terms], axis=1)))]
