"""Jobs of several clients, in an order in which none waits for a greedy one. Pure: no threads, no clocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Job = TypeVar("Job")

_MAX_IDLE = 1024


class FairQueue(Generic[Job]):
    """The next job is always of the client that has used least; time away gives a client no credit.

    References
    ----------
    Start-time fair queueing: Goyal, Vin, Cheng 1996, doi:10.1145/248157.248171.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[tuple[Hashable, Job]]] = {}
        self._used: dict[Hashable, float] = {}
        self._floor = 0.0

    def put(self, client: Hashable, job: Job, *, slot: Hashable = None, keep: int = 0) -> Job | None:
        """Add a job, and return the one that has to give way to it.

        Parameters
        ----------
        slot, keep : at most `keep` jobs of a client and slot wait, the oldest gives way; 0: any number
        """
        if client not in self._waiting:
            self._waiting[client] = deque()
            self._used[client] = max(self._used.get(client, 0.0), self._floor)
            self._forget_idle()
        waiting = self._waiting[client]
        alike = [one for one in waiting if one[0] == slot] if keep else []
        if keep and len(alike) >= keep:
            waiting.remove(alike[0])
        waiting.append((slot, job))
        return alike[0][1] if keep and len(alike) >= keep else None

    def next(self) -> tuple[Hashable, Job] | None:
        """Take the next job, and the client that it is for."""
        if not self._waiting:
            return None
        client = min(self._waiting, key=self._used.__getitem__)
        self._floor = max(self._floor, self._used[client])
        _, job = self._waiting[client].popleft()
        if not self._waiting[client]:
            del self._waiting[client]
        return client, job

    def charge(self, client: Hashable, seconds: float) -> None:
        """Note what a job has cost."""
        self._used[client] = self._used.get(client, self._floor) + seconds

    def discard(self, client: Hashable) -> None:
        """Drop the jobs of a client that has disconnected."""
        self._waiting.pop(client, None)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _forget_idle(self) -> None:
        if len(self._used) > _MAX_IDLE:
            self._used = {
                client: used for client, used in self._used.items() if client in self._waiting or used > self._floor
            }
