"""Heads that read the same tensor are computed at once, and give the same."""

from __future__ import annotations

import numpy as np

from care_live.model.merge_heads import join_heads
from tests.make.seeded_unets import RANGE, counts, run, seeded


def test_two_heads_become_one_convolution() -> None:
    model = seeded(filters=4)
    joined = join_heads(model)
    inputs = {"raw": counts((1, 1, 8, 16, 16)), **RANGE}
    wanted, got = run(model, inputs), run(joined, inputs)
    for name in ("mean", "laplace_scale"):
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5, atol=1e-3)
    kinds = [[node.op_type for node in each.graph.node] for each in (model, joined)]
    assert kinds[1].count("Conv") == kinds[0].count("Conv") - 1
    assert kinds[1].count("Split") == 1


def test_a_network_with_one_head_stays_as_it_is() -> None:
    model = seeded(filters=4, probabilistic=False)
    assert [node.op_type for node in join_heads(model).graph.node] == [node.op_type for node in model.graph.node]
