"""The plan of a network's steps."""

from __future__ import annotations

from care_live.model.card import ModelCard
from care_live.planewise.plan import NotPlanewise, StreamPlan, plan_live
from tests.make.seeded_unets import seeded


def card(**fields: object) -> ModelCard:
    given = {"name": "seeded", "divisor": (4, 4, 4), "halo_px": (24, 24, 24), "heads": ("mean", "laplace_scale")}
    return ModelCard(**{**given, **fields})


def test_steps_in_the_middle_share_one_graph() -> None:
    plan = plan_live(seeded(filters=4), card(), (8, 8), 120)
    assert isinstance(plan, StreamPlan)
    assert len(plan.steps) == 31
    assert len({step.graph for step in plan.steps}) < 20


def test_work_after_the_last_plane_shrinks_with_the_stack() -> None:
    def share(n_planes: int) -> float:
        plan = plan_live(seeded(filters=32), card(), (8, 8), n_planes)
        assert isinstance(plan, StreamPlan)
        return plan.steps[-1].products / sum(step.products for step in plan.steps)

    assert share(32) < 0.33
    assert share(64) < 0.17


def test_a_network_that_cannot_stream_says_why() -> None:
    flat = seeded(axes="YX", kernel=(3, 3), pool=(2, 2), filters=4)
    verdict = plan_live(flat, card(axes="YX", divisor=(4, 4), halo_px=(24, 24)), (8, 8), 4)
    assert isinstance(verdict, NotPlanewise)
    assert verdict.reason == "task" and "YX" in verdict.detail
    model = seeded(filters=4)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Softmax"
    verdict = plan_live(model, card(), (8, 8), 8)
    assert isinstance(verdict, NotPlanewise)
    assert verdict.reason == "operator" and "Softmax" in verdict.detail
