"""Neighbouring planes share products where that takes less time, and give the same sums."""

from __future__ import annotations

import pytest

from care_live.planewise.ir import PlaneSum, Program
from care_live.planewise.passes.expand import expand
from care_live.planewise.passes.share_products import share_products
from tests.make.seeded_unets import counts, seeded
from tests.planewise.programs import ALONE, evaluate, feeds_of, unrolled, worst

SHAPE = (1, 1, 6, 8, 8)


def n_convolutions(program: Program) -> int:
    return sum(op.kind.startswith("Conv") for op in expand(program).operations)


@pytest.mark.parametrize("filters", [32, 64], ids=["five of six", "four of six"])
def test_wide_planes_take_fewer_products_for_the_same_sums(filters: int) -> None:
    before = unrolled(seeded(filters=filters, depth=1), SHAPE, n_at_once=ALONE)
    after = share_products(before)
    assert n_convolutions(after) < n_convolutions(before)
    feeds = feeds_of(counts(SHAPE))
    assert worst(evaluate(after, feeds), evaluate(before, feeds)) < 2e-6


def test_thin_planes_are_left_alone_since_their_sums_cost_more_than_their_products() -> None:
    before = unrolled(seeded(filters=2, depth=1), SHAPE, n_at_once=ALONE)
    assert any(isinstance(op, PlaneSum) for op in before.ops)
    assert n_convolutions(share_products(before)) == n_convolutions(before)
