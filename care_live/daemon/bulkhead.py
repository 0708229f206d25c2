"""Bulkheads: an error of one room (publishing, restoring) ends there and does not reach the acquisition."""

from __future__ import annotations

import logging
from types import TracebackType

from care_live.daemon.run_metrics import Tally
from care_live.errors import CareLiveError, WorkersAwayError

logger = logging.getLogger(__name__)


class Bulkhead:
    """Stops every error of one room: counted each time, shown in the status, logged the first time.

    ::

        with publishing:
            publisher.change(change)

    Parameters
    ----------
    room : what fails
    consequence : what the run goes on without
    tally : counts it
    """

    def __init__(self, room: str, consequence: str, tally: Tally) -> None:
        self._room, self._consequence, self._tally = room, consequence, tally

    def note(self, error: BaseException) -> None:
        """Count a failure that was caught elsewhere."""
        what = str(error) if isinstance(error, CareLiveError) else f"{type(error).__name__}: {error}"
        goes_on = isinstance(error, WorkersAwayError)  # it says itself with what
        warning = what if goes_on else f"{self._room} failed: {what}; {self._consequence}"
        if self._tally.fault(self._room, warning):
            logger.error("%s", warning, exc_info=None if isinstance(error, CareLiveError) else error)
        else:
            logger.debug("%s", warning)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        self.note(error)
        return True
