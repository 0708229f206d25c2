"""A thread for long work, so that the publisher's own thread always answers at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from care_live.publish.fair_queue import FairQueue

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerThread(Generic[Job, Result]):
    """Does one job after another, of each client in its turn.

    Parameters
    ----------
    name
        Of the thread.
    work
        Does a job and returns its result; it must not raise.
    announce
        Called in the thread when there is a result to be taken.
    """

    def __init__(self, name: str, work: Callable[[Job], Result], announce: Callable[[], None]) -> None:
        self._work, self._announce = work, announce
        self._queue: FairQueue[Job] = FairQueue()
        self._results: list[tuple[Job, Result]] = []
        self._bell = threading.Condition()
        self._closed, self._busy = False, 0
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def put(self, client: Hashable, job: Job, *, slot: Hashable = None, keep: int = 0) -> Job | None:
        """Add a job; return the one that gives way to it (see `FairQueue.put`)."""
        with self._bell:
            gone = self._queue.put(client, job, slot=slot, keep=keep)
            self._busy += gone is None
            self._bell.notify()
            return gone

    def discard(self, client: Hashable) -> None:
        """Drop the jobs of a client that has disconnected."""
        with self._bell:
            before = len(self._queue)
            self._queue.discard(client)
            self._busy -= before - len(self._queue)

    def take(self) -> list[tuple[Job, Result]]:
        """Return what was done since the last time."""
        with self._bell:
            results, self._results = self._results, []
            self._busy -= len(results)
            return results

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, is being done, or is to be taken."""
        with self._bell:
            return self._busy == 0

    def close(self) -> None:
        """End after the job that is being done."""
        with self._bell:
            self._closed = True
            self._bell.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the thread; False when it does not end in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            client, job = taken
            began_s = time.perf_counter()
            result = self._work(job)
            with self._bell:
                self._queue.charge(client, time.perf_counter() - began_s)
                self._results.append((job, result))
            self._announce()

    def _next(self) -> tuple[Hashable, Job] | None:
        with self._bell:
            self._bell.wait_for(lambda: self._closed or len(self._queue) > 0)
            return None if self._closed else self._queue.next()
