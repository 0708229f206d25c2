"""The trust light over time: one verdict a time point, the worst of its channels. Calculations only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from care_live.images import VolumeKey
from care_live.verdict import BADNESS, Trust, TrustColour

MAX_REASON = 240
"""Characters that are kept of a reason."""


class TrustNote(NamedTuple):
    """What a time line shows of one volume."""

    colour: TrustColour
    reason: str
    """The gravest; empty for green."""


class TrustSpan(NamedTuple):
    """Time points of one position that follow each other and have one verdict."""

    p: int
    first: int
    last: int
    colour: TrustColour
    reason: str


def note_of(trust: Trust) -> TrustNote:
    """Return what is kept of a verdict: a run has many."""
    return TrustNote(trust.colour, trust.reasons[0][:MAX_REASON] if trust.reasons else "")


def spans(notes: Mapping[VolumeKey, TrustNote], channels: Sequence[str] = ()) -> list[TrustSpan]:
    """Return the verdicts by position and time; time points of which nothing was examined are in none.

    Parameters
    ----------
    channels : their names; with several, a reason names the channel that it is about
    """
    found: list[TrustSpan] = []
    if len(channels) > 1:
        notes = {key: _of_channel(note, key.c, channels) for key, note in notes.items()}
    for (p, t), note in sorted(_worst(notes.items()).items()):
        last = found[-1] if found else None
        if last is not None and (last.p, last.last, last.colour, last.reason) == (p, t - 1, *note):
            found[-1] = last._replace(last=t)
        else:
            found.append(TrustSpan(p, t, t, *note))
    return found


def by_channel(notes: Mapping[VolumeKey, TrustNote]) -> dict[int, list[TrustSpan]]:
    """Return the verdicts of each channel by position and time."""
    channels = sorted({key.c for key in notes})
    return {c: spans({key: note for key, note in notes.items() if key.c == c}) for c in channels}


def by_time(line: Iterable[TrustSpan], p: int) -> dict[int, TrustNote]:
    """Return the verdict of each time point of a position."""
    return {
        t: TrustNote(span.colour, span.reason) for span in line if span.p == p for t in range(span.first, span.last + 1)
    }


def _of_channel(note: TrustNote, c: int, channels: Sequence[str]) -> TrustNote:
    name = channels[c] if c < len(channels) else f"channel {c}"
    return note._replace(reason=f"{name}: {note.reason}") if note.reason else note


def _worst(notes: Iterable[tuple[VolumeKey, TrustNote]]) -> dict[tuple[int, int], TrustNote]:
    """Return the worst verdict of each position and time point."""
    worst: dict[tuple[int, int], TrustNote] = {}
    for key, note in notes:
        place = (key.p, key.t)
        if place not in worst or BADNESS.get(note.colour, 1) > BADNESS.get(worst[place].colour, 1):
            worst[place] = note
    return worst
