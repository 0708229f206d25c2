"""Ranges of several workers: measured ahead, they are those of one that restores volumes in their order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from care_live.config import NormaliseConfig
from care_live.daemon.shared_ranges import SharedRanges
from care_live.images import Volume, VolumeKey
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore.geometry import gather
from care_live.restore.ranges import LearntRange, LearntRanges, choose_each
from tests.make.networks import noisy
from tests.make.records import volume

MODES = (
    NormaliseConfig(),
    NormaliseConfig(mode="ema"),
    NormaliseConfig(mode="per-volume"),
    NormaliseConfig(mode="fixed", low_counts=90, high_counts=400),
)
N_TIMES = 6


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(name="net", divisor=(1, 4, 4), halo_px=(0, 0, 0))


@pytest.fixture
def movie() -> list[Volume]:
    """Volumes of one place, the third one without signal."""
    pixels = [noisy((3, 16, 16), seed=t) * (t + 1) for t in range(N_TIMES)]
    pixels[2] = np.full((3, 16, 16), 100, np.uint16)
    return [volume(one, VolumeKey(t)) for t, one in enumerate(pixels)]


def one_after_the_other(card: ModelCard, movie: list[Volume], config: NormaliseConfig) -> list[LearntRanges]:
    """Return what one worker knows before each volume."""
    known: list[LearntRanges] = [{}]
    for one in movie:
        choices = choose_each(card, [one], gather([one]).histograms, known[-1], config=config)
        known.append({**known[-1], **{place: choice.memory for place, choice in choices.items()}})
    return known


@pytest.mark.parametrize("config", MODES, ids=lambda config: config.mode)
def test_each_volume_gets_the_range_of_one_worker_in_whichever_order_they_end(
    card: ModelCard, movie: list[Volume], config: NormaliseConfig
) -> None:
    wanted = one_after_the_other(card, movie, config)
    spans = [
        dict(choose_each(card, [one], gather([one]).histograms, wanted[n], config=config))
        for n, one in enumerate(movie)
    ]
    for order in itertools.islice(itertools.permutations(range(N_TIMES)), 0, 720, 37):
        shared = SharedRanges(config)
        for one in movie:
            shared.measure(card, [one])
            assert not shared.wait_for(one.key)
        for n in order:
            before = shared.before([movie[n]])
            chosen = choose_each(card, [movie[n]], gather([movie[n]]).histograms, before, config=config)
            assert chosen[0, 0].span == spans[n][0, 0].span
            shared.restored([movie[n]], {**before, (0, 0): chosen[0, 0].memory})
        assert shared.learnt.get((0, 0), LearntRange()).span == wanted[-1].get((0, 0), LearntRange()).span


def test_a_volume_teaches_once(card: ModelCard, movie: list[Volume]) -> None:
    shared = SharedRanges(NormaliseConfig())
    assert shared.wait_for(movie[0].key)
    assert shared.measure(card, movie[:1])
    assert not shared.measure(card, movie[:1])
    assert shared.learnt[0, 0].n_measured == 1
    shared.restored(movie[:1], {(0, 0): LearntRange(Span(0, 1), 9)})
    assert shared.learnt[0, 0].n_measured == 1, "it was measured before"


def test_what_is_known_need_not_be_measured(card: ModelCard, movie: list[Volume]) -> None:
    shared = SharedRanges(NormaliseConfig())
    learnt = shared.resume({(0, 0): Span(90, 500)})
    assert shared.know([movie[0].key]) and not shared.wait_for(movie[0].key)
    assert not shared.measure(card, movie[:1])
    assert shared.before(movie[:1]) == learnt
    assert not shared.know([VolumeKey(0, 1)])


def test_a_volume_that_cannot_be_restored_teaches_nothing_and_stops_no_other_one(card: ModelCard) -> None:
    lost = volume(noisy((3, 16, 16)), missing=range(3))
    shared = SharedRanges(NormaliseConfig())
    assert shared.measure(card, [lost])
    assert not shared.wait_for(lost.key)
    assert not shared.learnt


def test_another_network_goes_on_with_its_own_ranges(card: ModelCard, movie: list[Volume]) -> None:
    shared = SharedRanges(NormaliseConfig())
    shared.measure(card, movie[:1])
    own = {(0, 0): LearntRange(Span(1, 2), 3)}
    shared.go_on_with(own)
    assert shared.before(movie[:1]) == own


def test_what_is_measured_on_upsampled_volumes_is_left_to_the_worker(card: ModelCard, movie: list[Volume]) -> None:
    shared = SharedRanges(NormaliseConfig())
    larger = card.model_copy(update={"upsampled": "csbdeep", "factor": 4.0})
    assert not shared.measure(larger, movie[:1])
    assert shared.wait_for(movie[1].key), "until the first is restored"
    learnt = {(0, 0): LearntRange(Span(90, 400), 3)}
    shared.restored(movie[:1], learnt)
    assert shared.learnt == learnt
