"""The verdict on a network beside a filter."""

from __future__ import annotations

import re

import pytest

from care_live.metrics import Scores
from care_live.model.card import ModelCard
from care_live.training.checkpoint import TrainingHistory
from care_live.training.evaluation.evaluate import ScoreRow
from care_live.training.evaluation.filter_verdict import verdict_of
from tests.make.verdicts import card_verdict


def scores(psnr: float) -> Scores:
    return Scores(0.1, psnr, 0.5)


@pytest.mark.parametrize(
    ("network_db", "losses", "n_training", "wanted"),
    [
        (31.0, [3.0, 2.0], 9, "^better than a filter by 1.0 dB [^;]*$"),
        (31.0, [3.0, 2.0], 2, "^better than a filter by 1.0 dB .*; it has learnt from 2 images only; more may help$"),
        (31.6, [3.0, 2.0], 2, "^better than a filter by 1.6 dB [^;]*$"),
        (30.1, [3.0, 2.0], 9, "hardly better than a filter .*: use more time$"),
        (29.0, [3.0, 2.0], 9, "worse than a filter .*: use more time$"),
        (29.0, [3.0, 2.0, 2.5, 2.5, 2.5], 9, "worse than a filter .*: use more volumes$"),
        (29.0, [3.0, 2.0], 1, "worse than a filter .*: use more time and more volumes$"),
        (29.0, [2.0, 2.5], 9, "worse than a filter .*: use more time$"),  # after 200 updates nothing is over
    ],
)
def test_the_verdict_says_what_may_help(network_db: float, losses: list[float], n_training: int, wanted: str) -> None:
    row = ScoreRow("v", 2, scores(20.0), scores(28.0), scores(network_db), scores(30.0))
    history = TrainingHistory(update=[100 * (1 + n) for n in range(len(losses))], validation=losses)
    verdict = verdict_of(row, [history], n_training=n_training)
    assert verdict is not None
    assert re.search(wanted, verdict.sentence())


def test_images_of_another_shape_have_no_verdict() -> None:
    nothing = Scores(float("nan"), float("nan"), float("nan"))
    assert verdict_of(ScoreRow("v", 2, nothing, nothing, scores(30.0), nothing), [], n_training=9) is None


def test_a_card_without_a_verdict_opens() -> None:
    card = ModelCard(name="old", divisor=(1, 4, 4), halo_px=(0, 0, 0))
    old = card.model_dump_json(exclude={"verdict"})
    assert ModelCard.model_validate_json(old).verdict is None
    new = card.model_copy(update={"verdict": card_verdict(raw_db=25.0, filter_db=28.0, network_db=30.0)})
    assert ModelCard.model_validate_json(new.model_dump_json()) == new


def test_images_without_noise_need_no_network() -> None:
    row = ScoreRow("v", 2, scores(58.7), scores(58.5), scores(36.7), scores(59.4))
    verdict = verdict_of(row, [TrainingHistory(update=[100], validation=[1.0])], n_training=1)
    assert verdict is not None
    assert verdict.sentence().endswith(": the raw images hold hardly any noise, they need no network")


def test_an_estimate_that_leaves_no_error_is_no_verdict() -> None:
    left = [
        ScoreRow("v", 2, scores(20.0), scores(28.0), scores(float("nan")), scores(30.0)),
        ScoreRow("v", 2, scores(20.0), scores(float("nan")), scores(31.0), scores(30.0)),
    ]
    assert [verdict_of(row, [], n_training=9, estimated=True) for row in left] == [None, None]


def test_an_estimate_says_at_least() -> None:
    verdict = verdict_of(ScoreRow("v", 2, scores(20.0), scores(28.0), scores(32.0), scores(30.0)), [], n_training=9)
    assert verdict is not None and "least" not in verdict.sentence()
    assert verdict.error_share == pytest.approx(0.0251, abs=1e-4)
    said = verdict.model_copy(update={"measured_with": "second exposure"}).sentence()
    assert said == (
        "better than a filter by at least 2.0 dB (at least 32.0 dB, raw 20.0 dB, total variation filter 30.0 dB)"
    )
