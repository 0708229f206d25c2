"""Two thin planes in one block: the same results, fewer convolutions, and never a plane from beyond the stack."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from care_live.backends.session import Options
from care_live.model import rewrite
from care_live.restore.streaming import lower, network, whole
from care_live.restore.streaming.blocks import n_channels_at_once
from care_live.restore.streaming.plan import StreamPlan
from care_live.restore.streaming.program import Operation, Program
from care_live.restore.streaming.staggering import starts
from tests.streaming.networks import RANGE, counts, run, seeded
from tests.streaming.test_whole import worst

ALONE, IN_BLOCKS = 1, 16
POOLED_IN_PLANE = {"pool": (1, 2, 2)}


def written(model: onnx.ModelProto, shape: tuple[int, ...], n_at_once: int) -> Program:
    return lower.lower(network.read(model, shape), range(shape[2]), wait=True, n_at_once=n_at_once)


def convolutions(program: Program) -> Iterator[Operation]:
    return (operation for operation in program.operations if operation.op == "Conv")


@pytest.mark.parametrize(
    ("n_planes", "architecture"),
    [
        (4, {"depth": 2}),
        (12, {"depth": 2}),
        (6, {"depth": 1, "kernel": (5, 3, 3)}),
        (2, {"depth": 2, **POOLED_IN_PLANE}),
        (7, {"depth": 2, **POOLED_IN_PLANE}),
    ],
    ids=["one pooled plane", "pooled", "reaches further", "one block", "odd"],
)
@pytest.mark.parametrize("transposed", [False, True], ids=["joined", "added"])
def test_blocks_change_nothing_but_the_order_of_sums(
    monkeypatch: pytest.MonkeyPatch, n_planes: int, architecture: dict[str, object], transposed: bool
) -> None:
    model = seeded(filters=8, **architecture)
    model = rewrite.transpose_decoder(model) if transposed else model
    raw = counts((1, 1, n_planes, 16, 16))
    monkeypatch.setattr(lower, "n_channels_at_once", lambda: IN_BLOCKS)
    derived = whole.derive(model, raw.shape)
    assert isinstance(derived, StreamPlan)
    assert any(operation.op == "Slice" for operation in derived.program.operations)
    wanted = run(model, {"raw": raw, **RANGE})
    ours = whole.PlanewiseSession(derived, Options(threads=1))
    assert worst(ours.run({"raw": raw, **RANGE}), [wanted[name] for name in ours.outputs]) < 3e-6


def test_thin_planes_take_fewer_convolutions() -> None:
    model, shape = seeded(filters=8, depth=2, **POOLED_IN_PLANE), (1, 1, 16, 16, 16)
    n_alone, n_in_blocks = (len(list(convolutions(written(model, shape, n)))) for n in (ALONE, IN_BLOCKS))
    assert n_in_blocks < 0.75 * n_alone


def test_planes_that_fill_the_vectors_stay_alone() -> None:
    model, shape = seeded(filters=16, depth=1), (1, 1, 4, 8, 8)
    assert starts(network.read(model, shape), IN_BLOCKS) == {}
    assert written(model, shape, IN_BLOCKS).operations == written(model, shape, ALONE).operations


def test_each_convolution_begins_where_its_input_does_not() -> None:
    read = network.read(rewrite.transpose_decoder(seeded(filters=8, depth=1, **POOLED_IN_PLANE)), (1, 1, 8, 8, 8))
    begun = starts(read, IN_BLOCKS)
    n_met = 0
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


def test_pooled_planes_lie_in_one_block() -> None:
    read = network.read(seeded(filters=8, depth=1), (1, 1, 8, 8, 8))
    begun = starts(read, IN_BLOCKS)
    pooled = [node.inputs[0] for node in read.nodes if node.op == "MaxPool"]
    assert [begun[name] for name in pooled] == [0]


@pytest.mark.parametrize("n_planes", [4, 6])
def test_a_block_at_an_end_reads_nothing_where_there_is_no_plane(n_planes: int) -> None:
    """A bias makes something of nothing there, and nobody may read it."""
    program = written(seeded(filters=8, depth=1), (1, 1, n_planes, 8, 8), IN_BLOCKS)
    outside = ("-1..0", f"{n_planes - 1}..{n_planes}")
    n_met = 0
    for operation in convolutions(program):
        for name in operation.inputs[:1]:
            end = next((i for i, place in enumerate(outside) if name.endswith(place)), None)
            if end is not None:
                weight = program.constants[operation.inputs[1]]
                half = weight.shape[1] // 2
                missing = weight[:, :half] if end == 0 else weight[:, half:]
                assert not missing.any()
                n_met += 1
    assert n_met


def test_what_is_infinite_where_there_is_no_plane_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel's zeros do not undo it: 0 times infinity is no number."""
    model = seeded(filters=8, depth=1)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Reciprocal"
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 1 and "bias" in tensor.name:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name))
    raw = counts((1, 1, 8, 16, 16))
    monkeypatch.setattr(lower, "n_channels_at_once", lambda: IN_BLOCKS)
    derived = whole.derive(model, raw.shape)
    assert isinstance(derived, StreamPlan)
    assert any(operation.op == "Slice" for operation in derived.program.operations)
    assert all(np.isfinite(array).all() for array in run(model, {"raw": raw, **RANGE}).values())
    found = whole.PlanewiseSession(derived, Options(threads=1)).run({"raw": raw, **RANGE})
    assert all(np.isfinite(array).all() for array in found)


def test_this_processor_says_how_many_channels_it_takes() -> None:
    assert n_channels_at_once() in {8, 16}


def test_a_result_that_lies_in_a_block_is_given_alone() -> None:
    model = seeded(filters=4, depth=1)
    program = written(model, (1, 1, 4, 8, 8), IN_BLOCKS)
    makers = {operation.output.name: operation for operation in program.operations}
    for planes in program.results.values():
        for value in planes:
            assert not makers[value.name].cheap
            assert value.shape[1] == 1
    assert np.all([len(planes) == 4 for planes in program.results.values()])
