"""Each operator has one rule of how it moves along z; what has none is refused by its name."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from care_live.planewise import frontend
from care_live.planewise.frontend import Unstreamable
from care_live.planewise.ir import PlaneSum, Target
from care_live.planewise.unroll import unroll
from tests.make.seeded_unets import counts, seeded
from tests.planewise.programs import evaluate, feeds_of, unrolled, worst

SHAPE = (1, 1, 6, 8, 8)


def test_a_convolution_along_z_is_a_sum_over_the_planes_around() -> None:
    program = unrolled(seeded(filters=2, depth=1), SHAPE)
    sums = [len(op.terms) for op in program.ops if isinstance(op, PlaneSum)]
    assert sums[: SHAPE[2]] == [2, 3, 3, 3, 3, 2], "of the first layer; at an end there is one plane less to read"


def test_planes_of_the_outputs_that_are_padding_are_left_out() -> None:
    network, target = frontend.read(seeded(filters=2, depth=1), SHAPE), Target(live=False, n_channels_at_once=1)
    whole, middle = (unroll(network, range(6), part, target=target) for part in (slice(None), slice(2, 4)))
    raw = counts(SHAPE)
    every, some = (evaluate(program, feeds_of(raw)) for program in (whole, middle))
    assert {name: len(planes) for name, planes in some.items()} == dict.fromkeys(every, 2)
    assert worst(some, {name: planes[2:4] for name, planes in every.items()}) < 1e-6


def test_a_plane_that_is_not_recorded_is_a_plane_of_zeros() -> None:
    network, target = frontend.read(seeded(filters=2, depth=1), SHAPE), Target(live=False, n_channels_at_once=1)
    raw = counts(SHAPE)
    raw[:, :, 4:] = 0
    padded = unroll(network, [0, 1, 2, 3, None, None], target=target)
    feeds = {key: plane for key, plane in feeds_of(raw).items() if key not in (4, 5)}
    feeds["zeros"] = np.zeros_like(raw[:, :, 0])
    assert worst(evaluate(padded, feeds), evaluate(unroll(network, range(6), target=target), feeds_of(raw))) < 1e-6


def along_z(model: onnx.ModelProto, kind: str, **attributes: int) -> onnx.ModelProto:
    """Replace an activation by an operator that mixes planes."""
    place = next(i for i, node in enumerate(model.graph.node) if node.output[0] == "down0_0")
    old = model.graph.node[place]
    model.graph.node[place].CopyFrom(helper.make_node(kind, list(old.input), list(old.output), **attributes))
    return model


def test_an_operator_without_a_rule_is_refused_by_its_name() -> None:
    model = along_z(seeded(filters=2, depth=1), "Softmax", axis=2)
    with pytest.raises(Unstreamable, match="Softmax"):
        unroll(frontend.read(model, SHAPE), range(6), target=Target(live=False, n_channels_at_once=1))
