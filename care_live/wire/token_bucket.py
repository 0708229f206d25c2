"""What a client may cost at once and each second. The clock is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class TokenBucket:
    """Tokens that come back with time: of requests, messages or bytes.

    Parameters
    ----------
    per_s : how many come back each second
    burst : how many there are at most
    """

    per_s: float
    burst: float
    _left: float = field(init=False)
    _looked_s: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self._left = self.burst

    def left(self, now_s: float) -> float:
        """Return how many there are; below 0 is owed."""
        self._left = min(self.burst, self._left + max(0.0, now_s - self._looked_s) * self.per_s)
        self._looked_s = now_s
        return self._left

    def spend(self, n: float = 1) -> None:
        """Take some, even if there are fewer."""
        self._left -= n

    def take(self, now_s: float) -> bool:
        """Take one if it is there; return whether it was."""
        if self.left(now_s) < 1:
            return False
        self.spend()
        return True

    def owe(self, now_s: float, longest_s: float) -> float:
        """Take one in any case; return after how many seconds none is owed, at most `longest_s`."""
        self._left = max(self.left(now_s) - 1, -longest_s * self.per_s)
        return max(0.0, -self._left / self.per_s)
