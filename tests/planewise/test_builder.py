"""A program is written from nothing, or as another version of a given one."""

from __future__ import annotations

import numpy as np

from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.ir import Op, Plane, Program, Target

TARGET = Target(live=False, n_channels_at_once=8)
SHAPE = (1, 1, 4, 4)


def chain() -> tuple[Program, Plane]:
    """Return Relu(Neg(in)), and the plane between the two."""
    builder = ProgramBuilder(TARGET)
    negative = builder.add("Neg", [builder.input(0, SHAPE, ready=1)], SHAPE)
    return builder.program({"y": [builder.add("Relu", [negative], SHAPE)]}), negative


def kinds(program: Program) -> list[str]:
    return [op.kind for op in program.ops if isinstance(op, Op)]


def test_an_operation_is_ready_when_the_last_plane_that_it_reads_is() -> None:
    builder = ProgramBuilder(TARGET)
    first, third = builder.input(0, SHAPE, ready=1), builder.input(2, SHAPE, ready=3)
    assert builder.add("Add", [first, third], SHAPE).ready == 3
    assert builder.add("Neg", [first], SHAPE).ready == 1


def test_the_same_operation_is_made_once_and_another_one_anew() -> None:
    builder = ProgramBuilder(TARGET)
    given = builder.input(0, SHAPE, ready=1)
    pad = builder.once("Pad", [given], SHAPE, attributes={"pads": [0, 1]})
    assert builder.once("Pad", [given], SHAPE, attributes={"pads": (0, 1)}) == pad
    assert builder.once("Pad", [given], SHAPE, attributes={"pads": [1, 0]}) != pad


def test_what_no_result_needs_is_left_out() -> None:
    program, negative = chain()
    builder = ProgramBuilder(TARGET, program)
    for op in program.ops:
        builder.copy(op)
    builder.add("Exp", [negative], SHAPE)
    assert kinds(builder.program(program.results)) == ["Neg", "Relu"]


def test_what_reads_a_plane_gets_its_newest_version() -> None:
    program, negative = chain()
    builder = ProgramBuilder(TARGET, program)
    later = builder.add("Abs", [builder.input(5, SHAPE, ready=6)], SHAPE, output=negative)
    assert later.number == negative.number and later.ready == 6
    (relu,) = (op for op in program.ops if isinstance(op, Op) and op.kind == "Relu")
    assert builder.copy(relu).ready == 6
    made = builder.program(program.results)
    assert kinds(made) == ["Abs", "Relu"]
    assert made.results["y"][0].ready == 6


def test_a_constant_is_kept_once_by_its_name() -> None:
    builder = ProgramBuilder(TARGET)
    first = builder.constant("w", np.ones(3, np.float32))
    assert builder.constant("w", np.zeros(3, np.float32)) == first
    np.testing.assert_array_equal(builder.value(first), np.ones(3))
