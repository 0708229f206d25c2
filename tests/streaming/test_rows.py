"""Even and odd rows apart after the last upsampling: the same results for fewer products."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.restore.streaming import network, rows
from care_live.restore.streaming.lower import lower
from care_live.restore.streaming.program import Program, Value
from tests.streaming.networks import RANGE, counts, seeded
from tests.streaming.test_whole import opened, worst

FACTORS = np.array([1, 1, 2, 2], np.float32)
SAME = {"strides": (1, 1), "pads": (1, 1, 1, 1), "group": 1}


def is_apart(program: Program) -> bool:
    return any("@even" in operation.output.name for operation in program.operations)


def n_products(program: Program) -> int:
    return sum(operation.products for operation in program.operations)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (3, 5, 5)], ids=["three", "five"])
def test_rows_apart_equal_the_plain_session(depth: int, kernel: tuple[int, ...]) -> None:
    model = seeded(filters=16, depth=depth, kernel=kernel)
    raw = counts((1, 1, 8, 16, 8))
    ours, plain = opened(model, raw.shape)
    assert worst(ours.run({"raw": raw, **RANGE}), plain.run({"raw": raw, **RANGE})) < 3e-6


@pytest.mark.parametrize(("filters", "wide"), [(16, True), (4, False)])
def test_wide_decoders_take_fewer_products(filters: int, wide: bool) -> None:
    shape = (1, 1, 4, 8, 8)
    program = lower(network.read(seeded(filters=filters, depth=1), shape), range(4), wait=True)
    split = rows.apart(program)
    assert is_apart(split) is wide
    assert (n_products(split) < 0.95 * n_products(program)) is wide
    assert split.results == program.results


def upsampled(program: Program, *, extra: Value | None) -> Program:
    """Convolve an upsampled plane, and add something to it."""
    c, weight = 16, np.ones((16, 16, 3, 3), np.float32)
    low = program.add("Relu", [program.input("raw@0", (1, c, 4, 4), 1)], "low", (1, c, 4, 4))
    wide = program.add("Resize", [low, "", program.constant("factors", FACTORS)], "wide", (1, c, 8, 8))
    made = program.add(
        "Conv", [wide, program.constant("weight", weight)], "made", (1, c, 8, 8), attributes=SAME, products=1000
    )
    last = program.add("Add", [made, extra], "last", (1, c, 8, 8)) if extra else made
    program.results = {"mean": (last,)}
    return program


def test_what_cannot_be_computed_apart_is_left_as_it_is() -> None:
    program = Program()
    given = program.input("raw@1", (1, 16, 8, 8), 2)
    assert rows.apart(upsampled(program, extra=given)) is program
    pointwise = Program()
    still = pointwise.add("Relu", [pointwise.input("low", (1, 16, 1, 1), 0)], "still", (1, 16, 1, 1))
    assert rows.apart(upsampled(pointwise, extra=still)) is pointwise
    flat = Program()
    flat.results = {"mean": (flat.add("Relu", [flat.input("raw@0", (1, 16, 8, 8), 1)], "mean@0", (1, 16, 8, 8)),)}
    assert rows.apart(flat) is flat


def test_a_convolution_alone_is_put_together_again() -> None:
    split = rows.apart(upsampled(Program(), extra=None))
    assert is_apart(split)
    assert split.operations[-1].output == split.results["mean"][0]
