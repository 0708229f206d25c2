"""Even and odd rows apart after the last upsampling: the same results for fewer products."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.ir import Program, Target
from care_live.planewise.passes import PASSES
from care_live.planewise.passes.split_rows import split_rows
from tests.make.seeded_unets import RANGE, counts, seeded
from tests.planewise.programs import ALONE, unrolled
from tests.planewise.test_whole_volume import opened, worst

FACTORS = np.array([1, 1, 2, 2], np.float32)
SAME = {"strides": (1, 1), "pads": (1, 1, 1, 1), "group": 1}
TARGET = Target(live=False, n_channels_at_once=ALONE)


def is_apart(program: Program) -> bool:
    """Rows that were apart are put together again: no other pass reshapes."""
    return any(op.kind == "Reshape" and not op.cheap and op.output.ready for op in program.operations)


def n_products(program: Program) -> int:
    return sum(op.products for op in program.operations)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (3, 5, 5)], ids=["three", "five"])
def test_rows_apart_equal_the_plain_session(depth: int, kernel: tuple[int, ...]) -> None:
    model = seeded(filters=16, depth=depth, kernel=kernel)
    raw = counts((1, 1, 8, 16, 8))
    ours, plain = opened(model, raw.shape)
    assert worst(ours.run({"raw": raw, **RANGE}), plain.run({"raw": raw, **RANGE})) < 3e-6


@pytest.mark.parametrize(("filters", "wide"), [(16, True), (4, False)])
def test_wide_decoders_take_fewer_products(filters: int, wide: bool) -> None:
    unsplit = unrolled(seeded(filters=filters, depth=1), (1, 1, 4, 8, 8), n_at_once=ALONE)
    program = reduce(lambda done, apply: apply(done), PASSES[: PASSES.index(split_rows)], unsplit)
    split = split_rows(program)
    assert is_apart(split) is wide
    assert (n_products(split) < 0.95 * n_products(program)) is wide
    assert split.results.keys() == program.results.keys()


def upsampled(*, extra: str = "") -> Program:
    """Convolve an upsampled plane, and add something to it."""
    builder, c, shape = ProgramBuilder(TARGET), 16, (1, 16, 8, 8)
    low = builder.add("Relu", [builder.input(0, (1, c, 4, 4), 1)], (1, c, 4, 4))
    wide = builder.add("Resize", [low, None, builder.constant("factors", FACTORS)], shape)
    weight = builder.constant("weight", np.ones((c, c, 3, 3), np.float32))
    last = builder.add("Conv", [wide, weight], shape, attributes=SAME, products=1000)
    if extra == "recorded":
        last = builder.add("Add", [last, builder.input(1, shape, 2)], shape)
    if extra == "still":
        still = builder.add("Relu", [builder.input("low", (1, c, 1, 1), 0)], (1, c, 1, 1))
        last = builder.add("Add", [last, still], shape)
    return builder.program({"mean": [last]})


@pytest.mark.parametrize("extra", ["recorded", "still"])
def test_what_cannot_be_computed_apart_is_left_as_it_is(extra: str) -> None:
    program = upsampled(extra=extra)
    assert split_rows(program) is program


def test_a_program_without_upsampling_is_left_as_it_is() -> None:
    builder = ProgramBuilder(TARGET)
    flat = builder.program({"mean": [builder.add("Relu", [builder.input(0, (1, 16, 8, 8), 1)], (1, 16, 8, 8))]})
    assert split_rows(flat) is flat


def test_a_convolution_alone_is_put_together_again() -> None:
    split = split_rows(upsampled())
    assert is_apart(split)
    assert split.operations[-1].output == split.results["mean"][0]
