"""What one client may cost the page's server, as numbers; budgets.md says what happens past each."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_CONNECTIONS, MAX_CONNECTIONS_OF_ADDRESS = 256, 128
"""Without a WebSocket: waiting for a request, or answering one."""
MAX_BROWSERS, MAX_BROWSERS_OF_ADDRESS = 64, 32
ACCEPTED_AT_ONCE = 32
"""Less than the connections of an address, so that a newcomer's request is read before its connection is the oldest."""
REQUEST_S = 10.0
"""Time for a whole request."""
STALLED_S = 30.0
"""Time in which a client takes nothing of what is sent to it."""
MAX_HEAD_BYTES, MAX_MESSAGE_BYTES = 1 << 14, 1 << 16
LONGEST_WAIT_S = 5.0
MAX_FRAGMENTS, MAX_UNREAD_PONGS = 64, 500


@dataclass(slots=True)
class RequestAllowance:
    """Requests at once, and requests a second; the clock is an argument. A wait is `LONGEST_WAIT_S` at most.

    Parameters
    ----------
    burst : how many may come at once
    per_s : how many come back each second
    """

    burst: float
    per_s: float
    _left: float = field(init=False)
    _spent_s: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self._left = self.burst

    def spend(self, now_s: float) -> float:
        """Take one; return for how many seconds its owner must wait before it is served."""
        if self._spent_s > float("-inf"):
            self._left = min(self.burst, self._left + (now_s - self._spent_s) * self.per_s)
        self._spent_s = now_s
        self._left = max(self._left - 1, -LONGEST_WAIT_S * self.per_s)
        return max(0.0, -self._left / self.per_s)

    def is_full(self, now_s: float) -> bool:
        """Tell whether nothing was spent lately, so that it need not be kept."""
        return self._left + (now_s - self._spent_s) * self.per_s >= self.burst
