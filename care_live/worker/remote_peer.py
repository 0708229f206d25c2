"""One worker on another machine that has connected: what it runs, and what waits to be sent to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from care_live.worker.remote_protocol import ToSession

if TYPE_CHECKING:  # it only passes on how it was lost
    from care_live.worker.remote_inference import RemoteInference


@dataclass(slots=True, eq=False)
class RemotePeer:
    """One worker that has connected."""

    identity: bytes
    host: str
    runs: dict[int, RemoteInference] = field(default_factory=dict)
    """Its processes by session: one, and beside it another network on trial, or the one before a swap."""
    last_session: int | None = None
    """The last one that it was given; it is busy until it says that it has left that, and has no other one."""
    silent_s: float = 0.0
    unsent: deque[tuple[ToSession, Sequence[NDArray[Any] | bytes]]] = field(default_factory=deque)
    """Bounded: no volume is streamed to a worker for which much waits, and it has one order at a time."""

    @property
    def is_free(self) -> bool:
        return self.last_session is None

    def works_for(self, owner: object) -> bool:
        """Return whether it runs a process of this worker of the daemon."""
        return any(one.owner == owner for one in list(self.runs.values()))

    def lose(self, how: str) -> None:
        """Let what it runs know, if anything, how it was lost."""
        for one in list(self.runs.values()):
            one.lose(how)
