"""One life of the inference process, as its parent sees it: start, tell, hear, end."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from contextlib import suppress
from multiprocessing import connection
from typing import TypeAlias

from care_live import errors
from care_live.config import RestoreConfig
from care_live.errors import ModelError, RestoreError
from care_live.restore import child, talk

logger = logging.getLogger(__name__)

Answer: TypeAlias = talk.Ready | talk.Done


class LostError(RestoreError):
    """The process died or hangs; this one will not answer any more."""


class Inference:
    """A process that is starting, ready, or gone. `tell` may be called from any thread, `hear` from one.

    Parameters
    ----------
    config : its model and how to run it; it starts by itself
    budget_px : pixels that it may read at once, after an earlier life died of more
    """

    def __init__(self, config: RestoreConfig, budget_px: int | None = None) -> None:
        self.config = config
        self.ready: talk.Ready | None = None
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._speaking = threading.Lock()
        self._process = context.Process(
            target=child.main, args=(theirs, config, budget_px), name="care-live-inference", daemon=True
        )
        self._process.start()
        theirs.close()

    @property
    def process_id(self) -> int | None:
        """Its number in the operating system."""
        return self._process.pid

    @property
    def is_dead(self) -> bool:
        """Whether it has ended, whoever ended it."""
        return bool(connection.wait([self._process.sentinel], timeout=0))

    def await_ready(self, limit_s: float) -> talk.Ready:
        """Return what it says of itself once its network is checked and warm.

        Raises
        ------
        ModelError, ConfigError
            Its own reason not to start.
        LostError
            It died, or was not ready in time.
        """
        if self.ready is None:
            self._welcome(self.hear(limit_s))
        assert self.ready is not None
        return self.ready

    def tell(self, message: talk.Request) -> None:
        """Send a message; that nobody is there is noticed by `hear`."""
        with self._speaking, suppress(OSError):
            self._pipe.send(message)

    def hear(self, limit_s: float) -> Answer:
        """Wait for its next message.

        Raises
        ------
        LostError
            It died, or said nothing in time.
        CareLiveError
            The error that it reports.
        """
        woken = connection.wait([self._pipe, self._process.sentinel], timeout=limit_s)
        try:
            message = self._pipe.recv() if self._pipe.poll() else None
        except (EOFError, OSError):
            message = None
        if isinstance(message, talk.Failed):
            raise getattr(errors, message.kind)(message.message)
        if message is None:
            raise LostError("died" if woken else f"hung for {limit_s:.0f} s")
        answer: Answer = message
        return answer

    def has_news(self) -> bool:
        """Return whether `hear` would return, or raise, at once."""
        return bool(connection.wait([self._pipe, self._process.sentinel], timeout=0))

    def end(self, deadline_s: float) -> int | None:
        """End it: kindly within the deadline, then by force; return its exit code."""
        if deadline_s > 0 and not self.is_dead:
            self.tell(talk.Stop())
            self._process.join(deadline_s)
        if not self.is_dead:
            self._process.kill()
        self._process.join(5.0)
        self._pipe.close()
        return self._process.exitcode

    def _welcome(self, message: Answer) -> None:
        if not isinstance(message, talk.Ready):
            raise ModelError(f"the inference process said {type(message).__name__} before it was ready")
        self.ready = message
        logger.info("inference_ready model=%s provider=%s", message.identity.name, message.provider)
