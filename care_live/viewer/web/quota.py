"""Which connections the page's server keeps when there are too many. Pure bookkeeping: the clock is an argument."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from care_live.viewer.web.budget import MAX_CONNECTIONS, MAX_CONNECTIONS_OF_ADDRESS

Connection = TypeVar("Connection")


@dataclass(slots=True)
class _Place:
    address: str
    since_s: float
    is_answered: bool = False


@dataclass(slots=True)
class Quota(Generic[Connection]):
    """Connections by address: a new one is always accepted, and closes the one that has waited longest.

    An attacker and a person may have the same address: to refuse new connections would lock the person out.
    """

    max_all: int = MAX_CONNECTIONS
    max_of_address: int = MAX_CONNECTIONS_OF_ADDRESS
    _places: dict[Connection, _Place] = field(default_factory=dict)
    _of_address: Counter[str] = field(default_factory=Counter)

    def enter(self, connection: Connection, address: str, now_s: float) -> Connection | None:
        """Accept a connection; return the one that must be closed for it, if there are too many."""
        self._places[connection] = _Place(address, now_s)
        self._of_address[address] += 1
        if self._of_address[address] > self.max_of_address:
            return self._longest_waiting(address)
        if len(self._places) > self.max_all:
            return self._longest_waiting(self._of_address.most_common(1)[0][0])
        return None

    def waits(self, connection: Connection, now_s: float) -> None:
        """Note that a connection waits for its client's next request."""
        if connection in self._places:
            self._places[connection].since_s, self._places[connection].is_answered = now_s, False

    def is_answered(self, connection: Connection, now_s: float) -> None:
        """Note that a whole request came, and is being answered."""
        if connection in self._places:
            self._places[connection].since_s, self._places[connection].is_answered = now_s, True

    def leave(self, connection: Connection) -> None:
        """Note that a connection is closed, or has become a WebSocket."""
        if (place := self._places.pop(connection, None)) is not None:
            self._of_address[place.address] -= 1
            if not self._of_address[place.address]:
                del self._of_address[place.address]

    def __len__(self) -> int:
        return len(self._places)

    def _longest_waiting(self, address: str) -> Connection:
        """Return the connection to close: the oldest without a request, else the oldest of all."""
        own = [
            (place.is_answered, place.since_s, one) for one, place in self._places.items() if place.address == address
        ]
        return min(own, key=lambda each: each[:2])[2]
