"""Watches an acquisition from outside of the engine's threads: when it must end, and how it ended."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple, Protocol

from care_live.source.frame_recorder import EndReason, FrameRecorder

FIRST_FRAME_S = 15.0
"""Stages move to their places before the first frame."""
_ORPHAN_S = 60.0
"""After this silence the daemon counts as dead (where the system does not report that)."""
_TURN_S = 0.1
_ABORT_S = 10.0
_ORPHAN_ABORT_S = 1.0
"""The next daemon waits for the devices."""
_SEND_S = 30.0


class Acquiring(Protocol):
    """An acquisition under way."""

    @property
    def error(self) -> str | None:
        """The errors of the engine, once it is over."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False: not yet."""

    def abort(self) -> None:
        """Order its end, without waiting."""


class Verdict(NamedTuple):
    """How a run ended."""

    reason: EndReason
    detail: str = ""


class Supervisor:
    """Watches an acquisition from outside of the engine's threads."""

    def __init__(self, *, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._asked = threading.Event()
        self._why = ""
        self._parent = os.getppid()

    @property
    def is_orphan(self) -> bool:
        """Whether the daemon is dead; the next one needs the devices."""
        return os.getppid() != self._parent

    def stop(self, reason: str) -> None:
        """Order the end; from any thread."""
        self._why = reason
        self._asked.set()

    @property
    def patience_s(self) -> float:
        """How long the daemon may take to fetch what it lacks."""
        return 0.0 if self.is_orphan else _SEND_S

    def watch(self, acquiring: Acquiring, feed: FrameRecorder) -> Verdict:
        """Wait for the end of an acquisition, cause it where necessary, and return how it ended."""
        while not acquiring.wait(_TURN_S):
            if verdict := self._must_end(feed):
                acquiring.abort()
                acquiring.wait(_ORPHAN_ABORT_S if self.is_orphan else _ABORT_S)
                return verdict
        if acquiring.error is not None:
            return Verdict("failed", acquiring.error)
        if feed.n_came < feed.n_planned:
            came = f"{feed.n_came} of {feed.n_planned}"
            return Verdict("failed", f"the engine stopped after {came} planes without an error")
        return Verdict(*feed.verdict())

    def _must_end(self, feed: FrameRecorder) -> Verdict | None:
        if self._asked.is_set():
            return Verdict("aborted", self._why)
        if self.is_orphan or feed.daemon_silent_s > _ORPHAN_S:
            return Verdict("aborted", "the daemon has ended")
        limit_s = self._quiet_s if feed.n_came else max(self._quiet_s, FIRST_FRAME_S)
        return Verdict("stalled", f"no frame for {feed.quiet_s:.1f} s") if feed.quiet_s > limit_s else None
