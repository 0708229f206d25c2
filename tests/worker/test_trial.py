"""What a trial says of a network's pace."""

from __future__ import annotations

import pytest

from care_live.worker.trial import Tempo

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    ("tempo", "falls_behind"),
    [
        (Tempo(4.0, 1.0, 1.5), True),
        (Tempo(4.0, 1.0, 30.0), False),  # slower, but there is time
        (Tempo(4.0, 3.0, 1.5), False),  # no worse than what runs
        (Tempo(4.0, None, 1.5), True),
        (Tempo(4.0, None, 3.0), False),  # both networks were at work
        (Tempo(4.0, 1.0, None), False),  # nothing says when it must be done
        (Tempo(4.0, None, None), False),
    ],
)
def test_what_is_too_slow(tempo: Tempo, falls_behind: bool) -> None:
    assert tempo.falls_behind == falls_behind
    assert f"{tempo.took_s:.2g} s a volume" in str(tempo)


def test_minutes_are_said_in_whole_seconds() -> None:
    assert str(Tempo(0.0033, 1.0, 341.2)).endswith("; one comes every 341 s")
