"""Two thin planes in one pack: the same results, fewer convolutions, and never a plane from beyond the stack."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from care_live.backends.session import Options
from care_live.model import rewrite
from care_live.planewise import frontend
from care_live.planewise.ir import Op, Plane, PlaneSum, Program
from care_live.planewise.passes.pack_planes import n_channels_at_once, pack_planes
from care_live.planewise.passes.pack_starts import pack_starts
from care_live.planewise.plan import StreamPlan, compile_plan
from care_live.planewise.schedule import whole_boundaries
from care_live.planewise.whole_volume import PlanewiseSession
from tests.make.seeded_unets import RANGE, counts, run, seeded
from tests.planewise.programs import ALONE, PACKED, unrolled
from tests.planewise.test_whole_volume import worst

HALVES = (slice(0, 8), slice(8, 16))
POOLED_IN_PLANE = {"pool": (1, 2, 2)}


def packed(model: onnx.ModelProto, shape: tuple[int, ...], n_at_once: int = PACKED) -> Program:
    return pack_planes(unrolled(model, shape, n_at_once=n_at_once))


def planned(model: onnx.ModelProto, shape: tuple[int, ...]) -> StreamPlan:
    n = shape[2]
    plan = compile_plan(model, shape, range(n), whole_boundaries(n, 32), live=False, n_at_once=PACKED)
    assert isinstance(plan, StreamPlan), plan
    assert any(op.kind == "Slice" for op in plan.program.operations)
    return plan


def sums(program: Program) -> Iterator[PlaneSum]:
    return (op for op in program.ops if isinstance(op, PlaneSum))


def starts(model: onnx.ModelProto, shape: tuple[int, ...]) -> dict[str, int]:
    return pack_starts(unrolled(model, shape).layers, PACKED)


@pytest.mark.parametrize(
    ("n_planes", "architecture"),
    [
        (4, {"depth": 2}),
        (12, {"depth": 2}),
        (6, {"depth": 1, "kernel": (5, 3, 3)}),
        (2, {"depth": 2, **POOLED_IN_PLANE}),
        (7, {"depth": 2, **POOLED_IN_PLANE}),
    ],
    ids=["one pooled plane", "pooled", "reaches further", "one pack", "odd"],
)
@pytest.mark.parametrize("transposed", [False, True], ids=["joined", "added"])
def test_packs_change_nothing_but_the_order_of_sums(
    n_planes: int, architecture: dict[str, object], transposed: bool
) -> None:
    model = seeded(filters=8, **architecture)
    model = rewrite.transpose_decoder(model) if transposed else model
    raw = counts((1, 1, n_planes, 16, 16))
    wanted = run(model, {"raw": raw, **RANGE})
    ours = PlanewiseSession(planned(model, raw.shape), Options(threads=1))
    assert worst(ours.run({"raw": raw, **RANGE}), tuple(wanted[name] for name in ours.outputs)) < 3e-6


def test_thin_planes_take_fewer_convolutions() -> None:
    model, shape = seeded(filters=8, depth=2, **POOLED_IN_PLANE), (1, 1, 16, 16, 16)
    n_alone, n_in_packs = (sum(len(op.terms) for op in sums(packed(model, shape, n))) for n in (ALONE, PACKED))
    assert n_in_packs < 0.75 * n_alone


def test_planes_that_fill_the_vectors_stay_alone() -> None:
    model, shape = seeded(filters=16, depth=1), (1, 1, 4, 8, 8)
    assert starts(model, shape) == {}
    program = unrolled(model, shape)
    assert pack_planes(program) is program


def test_each_convolution_begins_where_its_input_does_not() -> None:
    model, shape = rewrite.transpose_decoder(seeded(filters=8, depth=1, **POOLED_IN_PLANE)), (1, 1, 8, 8, 8)
    begun, n_met = starts(model, shape), 0
    read = frontend.read(model, shape)
    for node in read.nodes:
        met = [begun[name] for name in node.inputs if name in begun]
        if node.op == "Conv" and met and node.outputs[0] in begun:
            reaches = read.constants[node.inputs[1]].shape[2] > 1
            assert (begun[node.outputs[0]] != met[0]) == reaches
            n_met += 1
        if node.op == "Add" and len(met) == 2:
            assert met[0] == met[1]
            n_met += 1
    assert n_met >= 5


def test_pooled_planes_lie_in_one_pack() -> None:
    model, shape = seeded(filters=8, depth=1), (1, 1, 8, 8, 8)
    pooled = [node.inputs[0] for node in frontend.read(model, shape).nodes if node.op == "MaxPool"]
    assert [starts(model, shape)[name] for name in pooled] == [0]


def empty_half(program: Program, pack: Plane) -> int | None:
    """Return which half of a pack of two times 8 channels has no plane in it, or None."""
    makers = {op.output.number: op for op in program.ops}
    maker = makers.get(pack.number)
    while isinstance(maker, Op) and maker.output.shape == pack.shape:
        maker = makers.get(maker.inputs[0].number)
    if not isinstance(maker, PlaneSum) or maker.output.shape[1] != 16:
        return None
    filled = [any(term.kernel.weight[half].any() for term in maker.terms) for half in HALVES]
    return None if all(filled) else filled.index(False)


@pytest.mark.parametrize("n_planes", [4, 6])
def test_a_pack_at_an_end_reads_nothing_where_there_is_no_plane(n_planes: int) -> None:
    """A bias makes something of nothing there, and no sum may read it."""
    program = packed(seeded(filters=8, depth=1), (1, 1, n_planes, 8, 8))
    met = [
        (term, half)
        for op in sums(program)
        for term in op.terms
        if (half := empty_half(program, term.plane)) is not None
    ]
    assert met
    for term, half in met:
        assert not term.kernel.weight[:, HALVES[half]].any()


def test_what_is_infinite_where_there_is_no_plane_stays_there() -> None:
    """A kernel's zeros do not undo it: 0 times infinity is no number."""
    model = seeded(filters=8, depth=1)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Reciprocal"
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 1 and "bias" in tensor.name:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name))
    raw = counts((1, 1, 8, 16, 16))
    assert all(np.isfinite(array).all() for array in run(model, {"raw": raw, **RANGE}).values())
    found = PlanewiseSession(planned(model, raw.shape), Options(threads=1)).run({"raw": raw, **RANGE})
    assert all(np.isfinite(array).all() for array in found)


def test_this_processor_says_how_many_channels_it_takes() -> None:
    assert n_channels_at_once() in {8, 16}


def test_a_result_that_lies_in_a_pack_is_given_alone() -> None:
    program = planned(seeded(filters=4, depth=1), (1, 1, 4, 8, 8)).program
    makers = {op.output.number: op for op in program.operations}
    for planes in program.results.values():
        assert len(planes) == 4
        for plane in planes:
            assert not makers[plane.number].cheap
            assert plane.shape[1] == 1
