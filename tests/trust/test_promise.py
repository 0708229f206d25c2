"""A measured error is clearly worse than the card's only where less light, or a dim plane, is no reason for it."""

from __future__ import annotations

import pytest

from care_live.model import file
from care_live.trust import promise
from care_live.trust.reference import ErrorFigures
from tests.make.verdicts import card_verdict

CARD = card_verdict(raw_db=23.0, filter_db=28.0, network_db=32.0)


def seen(psnr_db: float, gain_db: float) -> ErrorFigures:
    return ErrorFigures(10 ** (-psnr_db / 20), psnr_db, gain_db, None)


@pytest.mark.parametrize(
    ("psnr_db", "gain_db", "is_broken"),
    [
        (32.0, 4.0, False),
        (26.0, 4.0, False),
        (38.0, 0.0, False),
        (29.5, 1.5, False),
        (28.0, 0.5, True),
        (22.0, -1.0, True),
    ],
    ids=["as-promised", "less-light", "more-light", "within-the-margin", "worse", "worse-than-a-filter"],
)
def test_both_the_error_and_the_gain_must_be_clearly_worse(psnr_db: float, gain_db: float, is_broken: bool) -> None:
    assert promise.is_broken(seen(psnr_db, gain_db), CARD) == is_broken
    assert not promise.is_broken(seen(psnr_db, gain_db), None)


def test_the_sentence_says_what_was_measured_what_the_card_says_and_what_to_do() -> None:
    said = promise.sentence((25, 50), seen(22.0, -1.0), CARD)
    assert "time points 25 to 50" in said
    assert (
        "22.0 dB, 1.0 dB worse than a Gaussian filter" in said
        and "32.0 dB, 4.0 dB better than a Gaussian filter" in said
    )
    assert "train a network on this specimen" in said


def test_an_estimate_from_noisy_images_promises_nothing() -> None:
    estimated = CARD.model_copy(update={"measured_with": "second exposure"})
    assert not promise.is_broken(seen(22.0, -1.0), estimated)


def test_the_shipped_network_promises_what_was_measured() -> None:
    promised = file.read_card(file.shipped("worm3d")).verdict
    assert promised is not None and promised.n_images == 6
    assert not promise.is_broken(seen(34.3, 3.8), promised)
    assert promise.is_broken(seen(28.0, -1.0), promised)
