"""Softplus written in other operators gives the same numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from care_live.planewise.builder import ProgramBuilder
from care_live.planewise.ir import Target
from care_live.planewise.passes.expand_softplus import expand_softplus
from tests.planewise.programs import evaluate


def softplus(x: NDArray[np.float32]) -> NDArray[np.float32]:
    builder = ProgramBuilder(Target(live=False, n_channels_at_once=8))
    given = builder.input("low", x.shape, 0)
    program = builder.program({"y": [builder.add("Softplus", [given], x.shape)]})
    expanded = expand_softplus(program)
    assert "Softplus" not in {op.kind for op in expanded.operations}
    return evaluate(expanded, {"low": x})["y"][0]


def test_softplus_is_right_everywhere() -> None:
    x = np.concatenate([np.linspace(-100, 100, 4001), [-1e30, 79.99, 80.01, 1e4, 1e30]]).astype(np.float32)
    wanted = np.logaddexp(0, x.astype(np.float64))
    np.testing.assert_allclose(softplus(x), wanted, rtol=3e-7, atol=1.2e-7)


def test_softplus_of_no_number_is_no_number() -> None:
    y = softplus(np.array([np.nan, np.inf, -np.inf, 0.0], np.float32))
    assert np.isnan(y[0])
    assert y[1] == np.inf
    assert y[2] == 0
