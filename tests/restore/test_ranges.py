"""Normalisation over time: causal, locked, guarded against emptiness; how much each mode flickers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from care_live.config import NormaliseConfig
from care_live.errors import ConfigError
from care_live.percentiles import Span, flicker, measure
from care_live.restore.ranges import LearntRange, RangeChoice, choose, known_before

LOCKED = NormaliseConfig(mode="locked-after-k", lock_after_volumes=3)
EMA = NormaliseConfig(mode="ema", ema_weight=0.25)
PER_VOLUME = NormaliseConfig(mode="per-volume")
FIXED = NormaliseConfig(mode="fixed", low_counts=100, high_counts=400)


def run(config: NormaliseConfig, measured: list[Span]) -> list[RangeChoice]:
    memory, choices = LearntRange(), []
    for span in measured:
        choices.append(choose(memory, span, config))
        memory = choices[-1].memory
    return choices


def flickers(config: NormaliseConfig, measured: list[Span]) -> list[float]:
    return [flicker(before.span, after.span) for before, after in pairwise(run(config, measured))]


def test_locked_is_the_mean_of_the_first_k_and_then_stays() -> None:
    spans = [Span(100, 200), Span(110, 220), Span(120, 240), Span(500, 900), Span(0, 50)]
    chosen = [choice.span for choice in run(LOCKED, spans)]
    assert chosen[0] == Span(100, 200)
    assert (chosen[2].low, chosen[2].high) == pytest.approx((110, 220))
    assert chosen[3] == chosen[4] == chosen[2]


def test_ema_follows_slowly() -> None:
    spans = [choice.span for choice in run(EMA, [Span(100, 200), Span(200, 300)])]
    assert spans == [Span(100, 200), Span(125, 225)]


def test_fixed_needs_its_range() -> None:
    assert run(FIXED, [Span(0, 9999)])[0].span == Span(100, 400)
    with pytest.raises(ConfigError, match="set both"):
        choose(LearntRange(), Span(0, 1), NormaliseConfig(mode="fixed"))


@pytest.mark.parametrize("config", [LOCKED, EMA, PER_VOLUME], ids=lambda config: config.mode)
def test_an_empty_volume_keeps_the_previous_range_and_teaches_nothing(config: NormaliseConfig) -> None:
    before, empty = run(config, [Span(100, 200), Span(99, 103)])
    assert empty.empty
    assert empty.span == before.span
    assert empty.memory == before.memory


def test_an_empty_first_volume_does_not_blow_up_its_noise() -> None:
    (choice,) = run(LOCKED, [Span(99, 101)])
    assert choice.empty
    assert choice.span.width >= LOCKED.noise_floor_counts
    assert choice.memory.span is None


def test_what_is_known_before_the_pixels() -> None:
    locked = run(LOCKED, [Span(100, 200)] * 3)[-1].memory
    assert known_before(locked, LOCKED) == Span(100, 200)
    assert known_before(LearntRange(Span(100, 200), 2), LOCKED) is None
    assert known_before(locked, PER_VOLUME) is None
    assert known_before(LearntRange(), FIXED) == Span(100, 400)


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(10, 5000)), min_size=4, max_size=8))
def test_flicker_is_zero_once_locked_whatever_comes(ranges: list[tuple[float, float]]) -> None:
    assert flickers(LOCKED, [Span(low, low + width) for low, width in ranges])[-1] == 0.0


@pytest.mark.parametrize(
    ("config", "moved"),
    [
        (PER_VOLUME, [0.71, 0, 0]),
        (NormaliseConfig(mode="ema"), [0.19, 0.15, 0.12]),
        (LOCKED, [0] * 3),
        (FIXED, [0] * 3),
    ],
    ids=lambda value: value.mode if isinstance(value, NormaliseConfig) else "",
)
def test_one_bright_object_moves_all_else_as_the_setting_says(config: NormaliseConfig, moved: list[float]) -> None:
    quiet = np.random.default_rng(1).normal(200, 20, (8, 64, 64)).astype(np.uint16)
    bright = quiet.copy()
    bright[0, :12, :12] += 300  # 0.44 % of the voxels, past the 99.8 percentile
    spans = [measure(stack, 2, 99.8) for stack in (*[quiet] * 3, *[bright] * 3)]
    assert flickers(config, spans)[-3:] == pytest.approx(moved, abs=0.005)
