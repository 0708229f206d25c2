"""One worker on another machine that has connected: what it runs, and what waits to be sent to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from care_live.worker.remote_protocol import ToWorker

if TYPE_CHECKING:  # it only passes on how it was lost
    from care_live.worker.remote_inference import RemoteInference


@dataclass(slots=True, eq=False)
class RemotePeer:
    """One worker that has connected."""

    identity: bytes
    host: str
    inference: RemoteInference | None = None
    """What it runs; None: it has nothing to do. Any thread may end it, so it is read once for each use."""
    session: int | None = None
    """The last one that it was given; it is busy with that until it says that it has left."""
    silent_s: float = 0.0
    unsent: deque[tuple[ToWorker, Sequence[NDArray[Any] | bytes]]] = field(default_factory=deque)
    """Bounded: no volume is streamed to a worker for which much waits, and it has one order at a time."""

    @property
    def is_free(self) -> bool:
        return self.session is None

    def lose(self, how: str) -> None:
        """Let what it runs know, if anything, how it was lost."""
        if (runs := self.inference) is not None:
            runs.lose(how)
