"""Programs of the compiler: what an operation reads, how it is printed, and the algebra of terms."""

from __future__ import annotations

import numpy as np

from care_live.planewise.ir import (
    Constant,
    Kernel,
    Op,
    Placing,
    Plane,
    PlaneSum,
    Program,
    Target,
    Term,
    merged,
    narrowed,
    planes_read,
)

IN = [Plane(number, (1, 2, 4, 4), number) for number in range(3)]
OUT = Plane(7, (1, 3, 4, 4), 3)
PLACING = Placing("Conv", (1, 1), (1, 1, 1, 1), 1)


def kernel(name: str, seed: int = 0) -> Kernel:
    return Kernel(name, np.random.default_rng(seed).normal(size=(3, 2, 3, 3)).astype(np.float32))


def test_terms_of_one_plane_become_one_with_the_sum_of_their_kernels() -> None:
    a, b = kernel("a", 1), kernel("b", 2)
    both = merged([Term(IN[0], a), Term(IN[1], a), Term(IN[0], b)])
    assert [term.plane for term in both] == [IN[0], IN[1]]
    np.testing.assert_array_equal(both[0].kernel.weight, a.weight + b.weight)
    assert both[0].kernel.name != a.name, "equal names are equal kernels"


def test_a_narrowed_kernel_reads_some_channels_and_all_are_the_kernel_itself() -> None:
    whole = kernel("a")
    assert narrowed(whole, 0, 2) is whole
    np.testing.assert_array_equal(narrowed(whole, 1, 1).weight, whole.weight[:, 1:2])


def test_what_is_read_is_planes_and_no_constants() -> None:
    known = Plane(5, OUT.shape, 2)
    sum_ = PlaneSum((Term(IN[0], kernel("a")), Term(IN[2], kernel("b"))), None, OUT, PLACING, known=known)
    assert planes_read(sum_) == [known, IN[0], IN[2]]
    op = Op("Add", (IN[1], Constant("bias", (3,)), None), OUT, (), 3, cheap=False, products=0)
    assert planes_read(op) == [IN[1]]


def test_a_program_is_printed_one_line_an_operation() -> None:
    ops = (
        PlaneSum((Term(IN[0], kernel("a")), Term(IN[1], kernel("b"))), None, OUT, PLACING),
        Op("Relu", (OUT,), Plane(8, OUT.shape, 3), (), 3, cheap=True, products=0),
    )
    results = {"mean": (Plane(8, OUT.shape, 3),)}
    program = Program(ops, {}, {0: IN[0], 1: IN[1]}, results, {}, Target(live=True, n_channels_at_once=8), 9)
    assert str(program).splitlines() == [
        "%0 = input 0 1x2x4x4 ready=0",
        "%1 = input 1 1x2x4x4 ready=1",
        "%7 = %0·a + %1·b Conv 1x3x4x4 ready=3",
        "%8 = Relu(%7) 1x3x4x4 ready=3 cheap",
        "mean = %8",
    ]
