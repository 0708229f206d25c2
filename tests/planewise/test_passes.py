"""The law of every pass: ``run(pass(p)) ≈ run(p)``, whatever passes came before it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from care_live.model import rewrite
from care_live.planewise.ir import PlaneSum, Program
from care_live.planewise.passes import PASSES
from tests.make.merged import merge
from tests.make.seeded_unets import counts, seeded
from tests.planewise.programs import ALONE, PACKED, evaluate, feeds_of, unrolled, worst

NETWORKS = {
    "thin": lambda: seeded(filters=8, depth=2),
    "wide": lambda: seeded(filters=32, depth=1),
    "widest": lambda: seeded(filters=64, depth=1),
    "transposed": lambda: rewrite.transpose_decoder(seeded(filters=16, depth=2)),
    "reaches further": lambda: seeded(filters=8, depth=1, kernel=(5, 3, 3)),
    "pooled in the plane": lambda: seeded(filters=8, depth=2, pool=(1, 2, 2)),
    "three channels": lambda: seeded(filters=4, channels_in=3, residual=False, output="normalised"),
    "ensemble": lambda: merge([seeded(seed, filters=4, depth=1) for seed in range(2)]),
}


@pytest.fixture(scope="module", params=NETWORKS, ids=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return NETWORKS[request.param]()


@pytest.mark.parametrize("live", [False, True], ids=["whole", "live"])
@pytest.mark.parametrize("n_at_once", [ALONE, PACKED], ids=["alone", "packed"])
def test_a_pass_changes_nothing_but_the_order_of_sums(network: onnx.ModelProto, live: bool, n_at_once: int) -> None:
    channels = network.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    raw = counts((1, channels, 8, 16, 16))
    program = unrolled(network, raw.shape, live=live, n_at_once=n_at_once)
    wanted = evaluate(program, feeds_of(raw))
    for apply in PASSES:
        program = apply(program)
        found = evaluate(program, feeds_of(raw))
        apart = found.pop("disagreement", None)
        if apart is not None:  # its logarithms enlarge what rounding leaves
            assert max(np.abs(a - b).max() for a, b in zip(apart, wanted["disagreement"], strict=True)) < 2e-5
        assert worst(found, {name: wanted[name] for name in found}) < 3e-6, apply.__name__


def test_passes_do_what_they_are_for(network: onnx.ModelProto) -> None:
    """Each pass changes at least one of these programs, or its law would say nothing."""
    channels = network.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    program = unrolled(network, (1, channels, 8, 16, 16))
    assert any(isinstance(op, PlaneSum) for op in program.ops)
    for apply in PASSES:
        program = apply(program)
    assert not any(isinstance(op, PlaneSum) for op in program.ops)


@pytest.mark.parametrize(
    ("name", "network_name", "n_at_once"),
    [
        ("pack_planes", "thin", PACKED),
        ("share_products", "wide", ALONE),
        ("expand", "thin", ALONE),
        ("split_rows", "wide", ALONE),
        ("outline_tail", "ensemble", ALONE),
        ("expand_softplus", "thin", ALONE),
    ],
)
def test_every_pass_has_a_program_that_it_changes(name: str, network_name: str, n_at_once: int) -> None:
    program = unrolled(NETWORKS[network_name](), (1, 1, 8, 16, 16), n_at_once=n_at_once)
    for apply in PASSES:
        before, program = program, apply(program)
        if apply.__name__ == name:
            assert before.ops != program.ops if _comparable(before) else str(before) != str(program)
            return
    raise AssertionError(f"no pass is called {name}")


def _comparable(program: Program) -> bool:
    return not any(isinstance(op, PlaneSum) for op in program.ops)


def test_a_program_prints_one_line_an_operation() -> None:
    program = unrolled(seeded(filters=4, depth=1), (1, 1, 4, 8, 8), n_at_once=ALONE)
    lines = str(program).splitlines()
    assert len(lines) == len(program.inputs) + len(program.ops) + len(program.results)
    assert any("Relu(" in line for line in lines)
    assert any("·down0_0_weight[1]" in line for line in lines)
