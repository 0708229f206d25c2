"""How long a stream takes follows from counts: planes, products, and how fast planes come."""

from __future__ import annotations

import pytest

from care_live.planewise.cost import Speed, age_s
from care_live.planewise.plan import StreamPlan, plan_live
from tests.make.seeded_unets import seeded
from tests.planewise.test_stream import card


@pytest.fixture(scope="module")
def plan() -> StreamPlan:
    found = plan_live(seeded(filters=32), card(), (64, 64), 32)
    assert isinstance(found, StreamPlan)
    return found


def total(plan: StreamPlan) -> int:
    return sum(step.products for step in plan.steps)


def test_slow_planes_leave_only_the_last_step(plan: StreamPlan) -> None:
    left = age_s(plan.steps, n_tiles=1, plane_s=10.0, products_per_s=1e9)
    assert left == pytest.approx(plan.steps[-1].products / 1e9)


def test_planes_all_at_once_leave_everything(plan: StreamPlan) -> None:
    assert age_s(plan.steps, n_tiles=2, plane_s=0.0, products_per_s=1e9) == pytest.approx(2 * total(plan) / 1e9)


def test_caches_are_smaller_than_the_volume_of_features(plan: StreamPlan) -> None:
    plane = 4 * 32 * 64 * 64
    assert 10 * plane < plan.cache_bytes < 60 * plane


def test_the_speed_is_what_was_measured_and_is_slowly_forgotten() -> None:
    speed = Speed()
    assumed = speed.estimate()
    for _ in range(20):
        speed.note(10**9, 1.0)
    slow = speed.estimate()
    assert slow == pytest.approx(1e9, rel=0.7)
    looks = [speed.estimate() for _ in range(300)]
    assert looks == sorted(looks)
    assert looks[-1] == pytest.approx(assumed, rel=0.01)
