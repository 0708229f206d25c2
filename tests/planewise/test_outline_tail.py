"""What follows the last convolutions is one small graph for all planes, and gives what the whole network gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from care_live.backends.session import OnnxSession, Options
from care_live.planewise.passes.pack_starts import N_PACKED
from care_live.planewise.plan import StreamPlan, plan_live, plan_whole
from care_live.planewise.whole_volume import PlanewiseSession
from tests.make.merged import merge
from tests.make.seeded_unets import RANGE, counts, seeded
from tests.planewise.test_stream import card

N_PLANES = 8
SHAPE = (1, 1, N_PLANES, 8, 12)


@pytest.fixture(scope="module")
def ensemble() -> onnx.ModelProto:
    return merge([seeded(seed, filters=4) for seed in range(2)])


def planned(model: onnx.ModelProto) -> StreamPlan:
    plan = plan_whole(model, SHAPE)
    assert isinstance(plan, StreamPlan), plan
    return plan


def test_the_planes_of_a_mixture_share_a_graph(ensemble: onnx.ModelProto) -> None:
    first, *tails = planned(ensemble).steps
    assert len(tails) in (N_PLANES, N_PLANES // N_PACKED)
    shared = {step.graph for step in tails}
    assert len(shared) <= N_PACKED
    assert not {"Conv", "Resize"}.intersection(op for graph in shared for op, *_ in graph.lines)
    assert first.products
    assert not any(step.products for step in tails)
    assert {number for step in tails for number in step.outputs} == {
        plane.number for planes in planned(ensemble).program.results.values() for plane in planes
    }


def test_a_stream_has_them_too(ensemble: onnx.ModelProto) -> None:
    plan = plan_live(ensemble, card(members=2), SHAPE[-2:], N_PLANES)
    assert isinstance(plan, StreamPlan)
    tails = [step for step in plan.steps if step.graph.lines and not step.products]
    assert len(tails) in (N_PLANES, N_PLANES // N_PACKED)
    assert len({step.graph for step in tails}) <= N_PACKED


def test_what_is_soon_done_has_no_tail() -> None:
    assert len(planned(seeded(filters=4)).steps) == 1


def test_tails_give_what_the_whole_network_gives(ensemble: onnx.ModelProto) -> None:
    inputs = {"raw": counts(SHAPE), **RANGE}
    plain = OnnxSession(
        ensemble.SerializeToString(), {"raw": SHAPE, "low": (1,), "high": (1,)}, Options(threads=1)
    ).run(inputs)
    ours = PlanewiseSession(planned(ensemble), Options(threads=1)).run(inputs)
    for wanted, got in zip(plain, ours, strict=True):
        assert np.abs(got - wanted).max() < 2e-5 * max(1.0, np.abs(wanted).max())
