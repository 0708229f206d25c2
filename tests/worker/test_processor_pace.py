"""How much work a volume may cost before inference counts as hung: far more than usual, never just a little."""

from __future__ import annotations

from care_live.model.card import ModelCard
from care_live.worker.processor_pace import ProcessorPace

CARD = ModelCard(name="net", divisor=(4, 4, 4), halo_px=(24, 24, 24))
LARGE = 32 * 1024 * 1024


def test_a_large_first_volume_on_a_slow_machine_is_no_hang() -> None:
    assert ProcessorPace().limit_s(LARGE, CARD) > 600
    assert ProcessorPace().limit_s(32 * 64 * 64, CARD) == 60.0


def test_only_a_second_death_in_a_row_makes_it_careful() -> None:
    pace = ProcessorPace()
    pace.died(4000)
    assert pace.budget_px is None
    pace.learn(4000, 1.0)
    pace.died(4000)
    assert pace.budget_px is None
    pace.died(4000)
    assert pace.budget_px == 2000
    pace.died(4000)
    assert pace.budget_px == 1000
    pace.learn(4000, 1.0)
    assert pace.budget_px == 1000


def test_the_limit_follows_what_is_usual_and_the_size() -> None:
    pace = ProcessorPace()
    pace.learn(1000, 20.0)
    assert pace.limit_s(1000, CARD) == 100.0
    assert pace.limit_s(3000, CARD) == 300.0
    for _ in range(50):
        pace.learn(1000, 0.01)
    assert pace.limit_s(1000, CARD) == 60.0
