"""A result that can't be examined is restored all the same, and says so."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from care_live.images import Restored
from care_live.maps import Array, Head
from care_live.restore.examination import examined
from care_live.trust.examiner import Examiner
from care_live.verdict import Trust
from tests.make.records import restored, volume


class Verdict:
    """An examiner with one verdict, or with an error."""

    found = None

    def __init__(self, verdict: Trust | Exception) -> None:
        self.verdict = verdict

    def examine(self, one: Restored) -> Trust:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


def look(verdict: Trust | Exception, flags: frozenset[str] = frozenset()) -> Restored:
    given = restored(volume(np.ones((2, 4, 4), np.uint16)), flags=flags)
    maps: dict[Head, Array] = {"evidence": np.full((1, 2, 2, 2), 7, np.float32)}
    return examined(cast(Examiner, Verdict(verdict)), given, maps, 0)


def test_the_verdict_is_the_results() -> None:
    assert look(Trust("green")).trust == Trust("green")
    assert not look(Trust("green")).flags
    assert "evidence" not in look(Trust("green")).maps, "nothing was compared, so there is nothing to draw"


def test_a_strange_specimen_is_flagged_beside_what_was() -> None:
    assert look(Trust("amber", is_out_of_domain=True), frozenset({"saturated"})).flags == {"saturated", "out_of_domain"}


@pytest.mark.parametrize("error", [MemoryError(), np.linalg.LinAlgError("singular"), IndexError("no plane")])
def test_an_error_of_the_examination_is_a_caution(error: Exception) -> None:
    result = look(error)
    assert result.trust is not None and result.trust.colour == "amber"
    assert result.trust.reasons[0].startswith("not compared with the photons")
    assert set(result.maps) == {"mean"}
