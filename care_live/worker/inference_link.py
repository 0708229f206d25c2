"""What the daemon holds of one inference process: a child of its own, or one on another machine."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TypeAlias

from care_live import errors
from care_live.config import RestoreConfig
from care_live.errors import ModelError, RestoreError
from care_live.worker import protocol
from care_live.worker.liveness import LostError

logger = logging.getLogger(__name__)

ReadyOrDone: TypeAlias = protocol.Ready | protocol.Done

_LOOK_S = 0.2
"""How often a sign of life is looked for."""


class InferenceLink(ABC):
    """A process that is starting, ready, or ended. `send` may be called from any thread, `receive` from one.

    Parameters
    ----------
    config : its networks and how to run them
    """

    def __init__(self, config: RestoreConfig) -> None:
        self.config = config
        self.ready: protocol.Ready | None = None

    @property
    def process_id(self) -> int | None:
        """Its number in the operating system of this machine; None: it is on another one."""
        return None

    @property
    def host(self) -> str:
        """The other machine; empty: it is on this one."""
        return ""

    @property
    def is_absent(self) -> bool:
        """Whether no machine has been found for it yet."""
        return False

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent to it that it should get no planes of volumes that are being recorded."""
        return False

    @property
    @abstractmethod
    def is_dead(self) -> bool:
        """Whether it has ended, by itself or by force."""

    @property
    @abstractmethod
    def cpu_s(self) -> float:
        """Processor time that it has used so far."""

    @abstractmethod
    def send(self, message: protocol.InferenceRequest) -> None:
        """Send a message, never waiting for a process that does not read; `receive` notices that it is lost."""

    @abstractmethod
    def has_news(self, wait_s: float = 0.0) -> bool:
        """Return whether `receive` would return, or raise, at once; wait a little for that."""

    @abstractmethod
    def lost(self) -> str:
        """Look for a sign of life; return how it was lost: it died, or makes no progress; empty if it is running."""

    @abstractmethod
    def end(self, deadline_s: float) -> str:
        """End it: kindly within the deadline, then by force; return what is known of its end."""

    @abstractmethod
    def _next_answer(self) -> protocol.InferenceAnswer | None:
        """Return its next message; None: there will be none. Raises LostError where it is invalid."""

    def await_ready(self, limit_s: float) -> protocol.Ready:
        """Return what it says of itself once its network is checked and warm.

        Raises
        ------
        ModelError, ConfigError, OutOfMemoryError
            The error that the process reports.
        LostError
            The process died, or was not ready in time.
        """
        if self.ready is None:
            self._welcome(self.receive(limit_s=limit_s))
        assert self.ready is not None
        return self.ready

    def receive(self, *, limit_s: float = math.inf, cpu_limit_s: float = math.inf) -> ReadyOrDone:
        """Wait for its next message.

        Parameters
        ----------
        limit_s : longest time to wait
        cpu_limit_s : most processor time that it may use meanwhile

        Raises
        ------
        LostError
            The process died, gave no sign of life, or went past a limit.
        CareLiveError
            The error that the process reports.
        """
        until_s, most_cpu_s = time.monotonic() + limit_s, self.cpu_s + cpu_limit_s
        while not self.has_news(_LOOK_S):
            if how := self.lost():
                raise LostError(how)
            if time.monotonic() > until_s:
                raise LostError(f"sent no answer for {limit_s:.0f} s")
            if self.cpu_s > most_cpu_s:
                raise LostError(f"hung: it used {cpu_limit_s:.0f} s of processor time without a result")
        return self._next_message()

    def _next_message(self) -> ReadyOrDone:
        answer = self._next_answer()
        if answer is None:
            raise LostError(self.lost() or "died")
        if isinstance(answer, protocol.Failed):
            raise getattr(errors, answer.kind, RestoreError)(answer.message)
        return answer

    def _welcome(self, message: ReadyOrDone) -> None:
        if not isinstance(message, protocol.Ready):
            raise ModelError(f"the inference process sent {type(message).__name__} before it was ready")
        self.ready = message
        where = f" host={self.host}" if self.host else ""
        for one in message.networks:
            logger.info("inference_ready model=%s provider=%s%s", one.identity.name, one.provider, where)
        if len(message.networks) > 1:
            logger.info("networks=%d memory_limit=%d MiB", len(message.networks), message.limit_bytes >> 20)


OpenInference: TypeAlias = Callable[[RestoreConfig, Mapping[int, int]], InferenceLink]
"""Starts a process with these networks; by network: pixels that it may read at once, where one died of more."""
