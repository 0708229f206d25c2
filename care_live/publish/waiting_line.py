"""The connections for which there was no place, in the order in which they came. Pure: the clock is an argument."""

from __future__ import annotations

import itertools

LAPSE_S = 5.0
"""A connection that has sent no request for this long has lost its turn; clients repeat them every 1.5 s."""
MAX_IN_LINE = 1024
"""More than the port takes connections, and those that left within `LAPSE_S`."""


class WaitingLine:
    """Gives free places to those that wait longest: a program that connects anew all the time comes last each time."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, tuple[str, float]] = {}
        """Key and last request of each connection, the longest waiting first."""

    def n_ahead(self, peer: bytes, key: str, now_s: float) -> int:
        """Return how many of the same key have waited longer, and still wait."""
        self._drop_lapsed(now_s)
        before = itertools.takewhile(lambda other: other != peer, self._waiting)
        return sum(self._waiting[other][0] == key for other in before)

    def wait(self, peer: bytes, key: str, now_s: float) -> None:
        """Note a request of a connection without a place: it keeps its turn, or comes last."""
        if peer not in self._waiting and len(self._waiting) >= MAX_IN_LINE:
            self._drop_lapsed(now_s)
        if peer in self._waiting or len(self._waiting) < MAX_IN_LINE:
            self._waiting[peer] = key, now_s

    def leave(self, peer: bytes) -> None:
        """Take a connection out that has found a place."""
        self._waiting.pop(peer, None)

    def _drop_lapsed(self, now_s: float) -> None:
        waiting = self._waiting.items()
        self._waiting = {peer: asked for peer, asked in waiting if now_s - asked[1] <= LAPSE_S}
