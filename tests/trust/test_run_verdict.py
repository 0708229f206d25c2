"""What a run says of a restored volume: channels of other names are named, and those that are meant are not."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.images import Restored
from care_live.trust.run_verdict import named
from care_live.verdict import Trust
from tests.make.records import restored, volume
from tests.trust.photons import CARD

OF_GFP = CARD.model_copy(update={"channels_in": ("GFP",)})


def green() -> Restored:
    return restored(volume(np.ones((2, 4, 4), np.uint16)), trust=Trust("green"))


@pytest.mark.parametrize("name", ["GFP", "default", "channel 0"], ids=["the same", "no name", "a made-up one"])
def test_a_channel_that_may_be_meant_is_not_strange(name: str) -> None:
    was = green()
    assert named(was, OF_GFP, (name,)) is was
    assert named(was, CARD, ("mCherry",)) is was, "a network for any channel"


def test_a_channel_of_another_name_is_amber_and_flagged() -> None:
    said = named(green(), OF_GFP, ("mCherry",))
    assert said.trust is not None and said.trust.colour == "amber" and said.trust.is_out_of_domain
    assert any("mCherry" in reason and "GFP" in reason for reason in said.trust.reasons)
    assert "out_of_domain" in said.flags


def test_what_was_not_examined_gets_no_verdict_by_its_name() -> None:
    was = restored(volume(np.ones((2, 4, 4), np.uint16)))
    assert named(was, OF_GFP, ("mCherry",)) is was
