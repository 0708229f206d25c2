"""Who asked for the end of a run, what failed, and how its rooms are closed: none that hangs delays the others."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.deadline import Deadlines
from care_live.daemon.run_metrics import Tally
from care_live.errors import SourceError, StageError, StoreError
from care_live.images import RunEnded
from care_live.store import Claim, RunWriter

if TYPE_CHECKING:  # it was made elsewhere
    from care_live.daemon.pipeline import Pipeline

OPENING = "opening the run"
CLOSE_S = 30.0
"""How long each room may take to close once nothing more is to be done."""
OVERDUE_S = 10.0
"""How long the source may go on waiting for an acquisition after an order to end."""


class RunEnd:
    """The end of a daemon's run, ordered by a person or by a failure; the main thread waits here for either."""

    def __init__(self, deadlines: Deadlines, tally: Tally) -> None:
        self._deadlines, self._tally = deadlines, tally
        self._happened = threading.Event()  # something that the main thread must look at
        self._ordered_s = 0.0
        self.pipeline: Pipeline | None = None
        """Of the run that goes on."""
        self.drains = False
        """The acquisition is to end, and what has come is finished."""
        self.at_once = False
        """A person does not wait for that."""
        self.by_person = False
        self.failure: BaseException | None = None
        """The first one."""

    def order(self) -> None:
        """Take a person's order: the first one drains, the second one stops at once."""
        self.by_person, self.at_once = True, self.drains
        self._ask()

    def fail(self, error: BaseException) -> None:
        """Note why the run ends too early."""
        self.failure = self.failure or error
        self._ask()

    def _ask(self) -> None:
        self.drains, self._ordered_s = True, time.monotonic()
        self._happened.set()

    def wait(self, timeout_s: float) -> None:
        """Wait until something happens that may end the run."""
        self._happened.wait(timeout_s)
        self._happened.clear()

    @property
    def is_overdue(self) -> bool:
        """Whether the end was ordered some seconds ago, or twice."""
        return self.at_once or (self.drains and time.monotonic() - self._ordered_s > OVERDUE_S)

    def await_drained(self, within_s: float) -> None:
        """Wait until every stage of the pipeline has finished what it has; longer than `within_s` is a failure."""
        assert self.pipeline is not None
        deadline = time.monotonic() + within_s
        while self.pipeline.busy and not self.at_once:
            if time.monotonic() > deadline:
                self.failure = self.failure or StageError(f"not drained within {within_s:g} s")
                break
            self.wait(0.1)

    def complete(self, writer: RunWriter, *, shed: int) -> None:
        """Note that nothing is left to do; a run that was killed or stopped, or shed volumes, goes on by its name."""
        if self.drains or self._storing() or shed:
            return
        try:
            self._deadlines.within("noting the end", writer.complete, CLOSE_S)
        except (StoreError, StageError) as error:
            self.fail(error)

    def closes(self, closing: contextlib.ExitStack, name: str, close: Callable[[], None]) -> None:
        """Register a room to be closed at the end; a room that hangs delays nothing else."""

        def closed() -> None:
            if name == "the source" and self.pipeline is not None and self.pipeline.intake.alive:
                return  # it hangs in the intake's call: only the end of the process ends it
            with Bulkhead(f"closing {name}", "the process ends without it", self._tally):
                self._deadlines.within(f"closing {name}", close, CLOSE_S)

        closing.callback(closed)

    def close_store(self, store: RunWriter | Claim) -> None:
        """Close the store, unless it is being opened or written."""
        if OPENING in self._deadlines.hung or self._storing():
            return  # it hangs: the end of the process releases the run
        try:
            self._deadlines.within("closing the store", store.close, CLOSE_S)
        except (StoreError, StageError) as error:
            self.fail(error)

    def reason(self, ended: RunEnded | None) -> BaseException | None:
        """Return why the run ended too early; None: it did not.

        Parameters
        ----------
        ended : how the acquisition ended; None: further ones might have followed
        """
        if self.failure is None and ended is not None and ended.reason in ("failed", "stalled"):
            return SourceError(f"the acquisition {ended.reason}: {ended.detail}")
        return self.failure

    def _storing(self) -> bool:
        return self.pipeline is not None and self.pipeline.storing.alive
