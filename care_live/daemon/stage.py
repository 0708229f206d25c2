"""A stage: one named thread with an owner, an end and a deadline; its error belongs to the daemon."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from care_live.daemon.inbox import InboxClosed
from care_live.errors import StageError

logger = logging.getLogger(__name__)


class Stage:
    """A thread that runs ``work()`` to its end and keeps the error if it fails.

    Parameters
    ----------
    name : of the thread, in logs and errors
    work : returns when the stage has nothing more to do
    on_failure : called once, in the stage's thread, when ``work`` raises
    """

    def __init__(self, name: str, work: Callable[[], None], on_failure: Callable[[BaseException], None]) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._work = work
        self._on_failure = on_failure
        self._thread = threading.Thread(target=self._run, name=f"care-live {name}")

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the stage.

        Raises
        ------
        StageError
            It still runs after the deadline.
        """
        if not self.ended_within(timeout_s):
            raise StageError(f"stage {self.name} did not end within {timeout_s:g} s")

    def ended_within(self, timeout_s: float) -> bool:
        """Wait for the end of the stage; return whether it came. A stage that was never started has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except InboxClosed as after:
            logger.info("stage ends name=%s: the stage behind it has failed (%s)", self.name, after)
        except BaseException as error:  # noqa: BLE001 - the thread boundary: the daemon decides
            self.error = error
            logger.info("stage failed name=%s error=%s: %s", self.name, type(error).__name__, error)
            self._on_failure(error)
