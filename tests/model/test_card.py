"""What a card says of a network beside a filter, and the names of channels that have none."""

from __future__ import annotations

import pytest

from care_live.model.card import CLEARLY_BETTER_DB, NetworkVerdict, unnamed_channels
from tests.make.verdicts import card_verdict


def verdict(network_db: float, **about: object) -> NetworkVerdict:
    return card_verdict(raw_db=20.0, filter_db=28.0, network_db=network_db).model_copy(update=about)


@pytest.mark.parametrize(
    ("network_db", "says"),
    [
        (27.0, "worse than a filter"),
        (28.0 + CLEARLY_BETTER_DB / 2, "hardly better"),
        (30.0, "better than a filter by 2.0"),
    ],
    ids=["worse", "hardly better", "better"],
)
def test_a_network_is_compared_with_the_better_filter(network_db: float, says: str) -> None:
    said = verdict(network_db).sentence()
    assert said.startswith(says)
    assert f"{network_db:.1f} dB, raw 20.0 dB" in said and "filter 28.0 dB" in said


def test_a_doubtful_network_comes_with_what_to_do() -> None:
    assert verdict(27.0).sentence().endswith(": use the filter")
    assert verdict(27.0, advice="use more volumes").sentence().endswith(": use more volumes")
    assert verdict(30.0).sentence() == verdict(30.0).comparison()


def test_two_noisy_images_say_at_least() -> None:
    said = verdict(30.0, measured_with="second exposure").comparison()
    assert "by at least 2.0 dB" in said and "(at least 30.0 dB" in said


def test_a_channel_alone_is_whatever_a_run_has() -> None:
    assert unnamed_channels(1) == ("any",)
    assert unnamed_channels(2) == ("channel-0", "channel-1")
