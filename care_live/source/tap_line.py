"""Taps whose acquisitions began during another one's run, in the order in which they came."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

_SPEAKS_S = 5.0
"""A tap in line pings every second; one that was silent for longer keeps no other one from beginning."""
_MOST = 256


class _Waiting(NamedTuple):
    peer: bytes
    epoch: int
    received_s: float


class TapLine:
    """Who begins when a run is over.

    Parameters
    ----------
    clock_s : monotonic seconds
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._waiting: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._speaking())

    def note(self, tap: str, peer: bytes, epoch: int) -> None:
        """Let a tap wait at the end of the line, or where it stands already."""
        if tap not in self._waiting and len(self._waiting) >= _MOST:
            self._forget_silent()
        if tap in self._waiting or len(self._waiting) < _MOST:
            self._waiting[tap] = _Waiting(peer, epoch, self._clock_s())

    def may_begin(self, tap: str) -> bool:
        """Whether no other tap that still speaks came before this one."""
        first = next(iter(self._speaking()), tap)
        return first == tap

    def leave(self, tap: str) -> None:
        """Take a tap out: its run begins."""
        self._waiting.pop(tap, None)

    def listen_again(self) -> None:
        """Count no silence since the last message: between two runs the daemon receives nothing."""
        silent_s = self._clock_s() - max((one.received_s for one in self._waiting.values()), default=0.0)
        self._waiting = {tap: one._replace(received_s=one.received_s + silent_s) for tap, one in self._waiting.items()}

    def first(self) -> tuple[bytes, int] | None:
        """Return the address of the tap whose turn it is, and its epoch; None: no tap waits."""
        speaking = self._speaking()
        one = self._waiting[speaking[0]] if speaking else None
        return None if one is None else (one.peer, one.epoch)

    def _forget_silent(self) -> None:
        """Give up the places of taps that have ended in line: a daemon may run for months."""
        speaking = set(self._speaking())
        self._waiting = {tap: one for tap, one in self._waiting.items() if tap in speaking}

    def _speaking(self) -> list[str]:
        since_s = self._clock_s() - _SPEAKS_S
        return [tap for tap, one in self._waiting.items() if one.received_s >= since_s]
