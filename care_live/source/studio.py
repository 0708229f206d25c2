"""What a person acquires in the window of a running Micro-Manager: one run after the other, and Live between them.

Nothing is installed there: its server, which its options switch on, is all that is needed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from care_live.config import StudioConfig
from care_live.images import MISSED, RunEnded, RunStarted, SourceEvent
from care_live.live_frame import LatestFrame
from care_live.source.run_names import run_names
from care_live.source.studio_run import StudioRun
from care_live.source.studio_window import StudioWindow

logger = logging.getLogger(__name__)

_LOOK_S = 0.05


class StudioSource:
    """Gives the acquisitions of the window as runs, each under a name of its own, until it is stopped.

    Parameters
    ----------
    run_id : of the first run; the following ones are numbered
    is_taken : whether a run has a name already
    """

    def __init__(
        self, config: StudioConfig, *, run_id: str, is_taken: Callable[[str], bool] = lambda name: False
    ) -> None:
        self._names = run_names(run_id, is_taken)
        self._window = StudioWindow(config)
        self._run: StudioRun | None = None
        self._missed: tuple[str, ...] = ()
        """Acquisitions before the run that were not found."""
        self._has_begun = False
        self._stopped = threading.Event()
        self._is_aborted = self._ended = False

    @property
    def live(self) -> LatestFrame:
        """The newest frame outside any run."""
        return self._window.live

    @property
    def seen(self) -> threading.Event:
        """Set once Micro-Manager was seen: what it acquires from now on becomes a run."""
        return self._window.seen

    def next_event(self, timeout_s: float) -> SourceEvent | None:
        deadline = time.monotonic() + timeout_s
        while not self._ended:
            event = self._stop() if self._stopped.is_set() else self._step()
            if event is not None:
                return event
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._stopped.wait(min(left, _LOOK_S))
        return None

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self.stop()
        self._forget()
        self._window.close()

    def _step(self) -> SourceEvent | None:
        if self._run is None:
            self._begin()
        return None if self._run is None else self._pass_on(self._run.step())

    def _begin(self) -> None:
        found = self._window.next_acquisition()
        if found is not None:
            logger.info("acquisition in Micro-Manager's window title=%s saved=%s", found.title, found.folder or "no")
            self._run, self._has_begun = StudioRun(self._window, found, run_id=next(self._names)), False
            self._missed = found.missed

    def _pass_on(self, event: SourceEvent | None) -> SourceEvent | None:
        """Note the begin and the end of a run; an acquisition that ends without an image is not passed on."""
        if isinstance(event, RunStarted):
            self._has_begun = True
            return replace(event, summary={**event.summary, MISSED: list(self._missed)}) if self._missed else event
        if not isinstance(event, RunEnded):
            return event
        self._forget()
        if self._has_begun:
            return event
        logger.warning("acquisition without a run reason=%s: %s", event.reason, event.detail)
        return None

    def _stop(self) -> SourceEvent | None:
        detail = "stopped; what the window acquires goes on"
        if self._run is None:
            event: SourceEvent | None = RunEnded("aborted", detail)
        else:
            event = self._run.step() if self._is_aborted else self._run.end("aborted", detail)
        self._is_aborted = True
        self._ended = isinstance(event, RunEnded)
        return event

    def _forget(self) -> None:
        if self._run is not None:
            self._run.close()
        self._run = None
