"""Plane sums written out: convolutions added in the order in which their planes arrive."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.ir import Kernel, Placing, Plane, PlaneSum, Program, Target, Term
from care_live.planewise.passes.expand import expand
from tests.planewise.programs import evaluate

SAME = Placing("Conv", (1, 1), (1, 1, 1, 1), 1)


def a_sum(n_channels: int, order: tuple[int, ...] = (0, 1, 2)) -> tuple[Program, list[np.ndarray]]:
    """Return a sum over three planes, and its kernels."""
    rng = np.random.default_rng(1)
    kernels = [rng.standard_normal((2, n_channels, 3, 3)).astype(np.float32) for _ in range(3)]
    builder = ProgramBuilder(Target(live=True, n_channels_at_once=8))
    planes = [builder.input(z, (1, n_channels, 6, 6), ready=z + 1) for z in range(3)]
    terms = tuple(Term(planes[z], Kernel(f"k{z}", kernels[z])) for z in order)
    bias = builder.constant("bias", np.array([0.5, -1.0], np.float32))
    out = Plane(-1, (1, 2, 6, 6), 0)
    return builder.program({"y": [builder.sum(PlaneSum(terms, bias, out, SAME))]}), kernels


def direct(planes: dict[int | str, np.ndarray], kernels: list[np.ndarray]) -> np.ndarray:
    total = np.zeros((1, 2, 6, 6)) + np.array([0.5, -1.0]).reshape(1, 2, 1, 1)
    for z, kernel in enumerate(kernels):
        padded = np.pad(planes[z].astype(float), ((0, 0), (0, 0), (1, 1), (1, 1)))
        for dy in range(3):
            for dx in range(3):
                total += np.einsum("ncyx,oc->noyx", padded[:, :, dy : dy + 6, dx : dx + 6], kernel[:, :, dy, dx])
    return total


@pytest.mark.parametrize("n_channels", [1, 8], ids=["joined", "added"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_sum_is_what_its_formula_says(n_channels: int, order: tuple[int, ...]) -> None:
    program, kernels = a_sum(n_channels, order)
    rng = np.random.default_rng(2)
    planes = {z: rng.standard_normal((1, n_channels, 6, 6)).astype(np.float32) for z in range(3)}
    expanded = expand(program)
    assert not any(isinstance(op, PlaneSum) for op in expanded.ops)
    np.testing.assert_allclose(evaluate(expanded, planes)["y"][0], direct(planes, kernels), atol=2e-5)
    kinds = [op.kind for op in expanded.operations]
    assert ("Concat" in kinds) is (n_channels == 1), "planes of few channels are joined"


def test_it_is_computed_as_soon_as_its_last_plane_is_there() -> None:
    program, _ = a_sum(8)
    assert program.results["y"][0].ready == 3
    assert max(op.due for op in expand(program).operations) == 3
