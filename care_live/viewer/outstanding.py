"""Volumes that a recorder lacks: which to request next, and why each has not come. Pure: the clock is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from care_live.images import VolumeKey

MAX_ASKED = 4
"""Volumes requested by key at the same time."""
ASK_AGAIN_S = 5.0
"""Silence after which a volume is requested again: the link may be a new one."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Wait before a volume that does not exist yet is requested again; it doubles each time."""


@dataclass(slots=True)
class _Postponed:
    due_s: float
    why: str


@dataclass(slots=True)
class Outstanding:
    """Volumes that were requested by key, that are to be requested, and that are to be requested again later.

    A volume that is wanted stays here until `has_come`.
    """

    _wanted: deque[VolumeKey] = field(default_factory=deque)
    _asked: dict[VolumeKey, float] = field(default_factory=dict)
    _postponed: dict[VolumeKey, _Postponed] = field(default_factory=dict)
    _wait_s: dict[VolumeKey, float] = field(default_factory=dict)
    _arrived_s: float = float("-inf")

    def want(self, key: VolumeKey) -> None:
        """Request a volume soon, unless it is requested already."""
        if key not in self._asked and key not in self._wanted:
            self._postponed.pop(key, None)
            self._wanted.append(key)

    def has_come(self, key: VolumeKey) -> None:
        """Note that nothing more of a volume is to come."""
        for places in (self._asked, self._postponed, self._wait_s):
            places.pop(key, None)
        if key in self._wanted:
            self._wanted.remove(key)

    def note_arrivals(self, now_s: float) -> None:
        """Note that volumes arrive: the requested ones follow behind them."""
        self._arrived_s = now_s

    def postpone(self, key: VolumeKey, why: str, now_s: float) -> None:
        """Note why a volume did not come, and request it again later."""
        wait_s = self._wait_s.get(key, FIRST_WAIT_S)
        self._asked.pop(key, None)
        self._wait_s[key] = min(2 * wait_s, LONGEST_WAIT_S)
        self._postponed[key] = _Postponed(now_s + wait_s, why)

    def hurry(self, may_ask: Callable[[VolumeKey], bool]) -> None:
        """Request everything once more, now: a daemon that is about to end takes no later request."""
        self.ask_anew()
        for key in list(self._postponed):
            if may_ask(key):
                self.want(key)

    def ask_anew(self) -> None:
        """Request once more what was requested and has not come, before all others: those requests may be lost."""
        self._wanted.extendleft(reversed(self._asked))
        self._asked.clear()

    def why(self, key: VolumeKey) -> str:
        """Return why a requested volume did not come; empty: no answer."""
        return self._postponed[key].why if key in self._postponed else ""

    def due(self, now_s: float, may_ask: Callable[[VolumeKey], bool] = lambda _: True) -> list[VolumeKey]:
        """Return the volumes to request now; they count as requested from now on.

        Parameters
        ----------
        may_ask : whether it makes sense to request a postponed one now
        """
        for key in [key for key, one in self._postponed.items() if one.due_s <= now_s and may_ask(key)]:
            self.want(key)
        due = [key for key, asked_s in self._asked.items() if now_s - max(asked_s, self._arrived_s) > ASK_AGAIN_S]
        n_new = min(len(self._wanted), MAX_ASKED - len(self._asked))
        due += [self._wanted.popleft() for _ in range(n_new)]
        self._asked |= dict.fromkeys(due, now_s)
        return due

    def __iter__(self) -> Iterator[VolumeKey]:
        return iter((*self._asked, *self._wanted, *self._postponed))

    def __len__(self) -> int:
        return len(self._asked) + len(self._wanted) + len(self._postponed)
