"""A virtual microscope in Live, in a process of its own: started by the daemon, driven by a person's orders."""

from __future__ import annotations

import contextlib
import logging
import secrets
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from typing import IO, Any

import msgspec

from care_live.config import VirtualConfig
from care_live.errors import SourceError
from care_live.source.child_process import last_words_in, start_engine, tell
from care_live.source.stage_orders import LiveJob, OrderAnswer, order_of

logger = logging.getLogger(__name__)

_EXIT_S = 10.0
_ANSWER_S = 3.0
"""How long an order is waited for; an acquisition takes longer."""


class LiveMicroscope:
    """The process, and what it may be ordered.

    Parameters
    ----------
    config : the microscope
    address, address_of_runs : where Live and runs go
    """

    def __init__(self, config: VirtualConfig, *, address: str, address_of_runs: str) -> None:
        self.origin = secrets.token_hex(8)
        """With this begin the names of its taps."""
        job = LiveJob(address, address_of_runs, self.origin, config.model_dump(mode="json", exclude_unset=True))
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process: subprocess.Popen[bytes] = start_engine(
            msgspec.to_builtins(job), self._log, module="care_live.source.live_run", answers=True
        )
        self._n_orders = 0
        self._awaited: dict[int, OrderAnswer | None] = {}
        """Answers that a sender waits for, by the number of the order."""
        self._has_ended = False
        self._answered = threading.Condition()
        self._listening = threading.Thread(target=self._listen, name="microscope's answers")
        self._listening.start()

    def move(self, order: Mapping[str, Any]) -> str:
        """Pass an order on, and wait some seconds for it; return what became of it in words.

        Raises
        ------
        ConfigError
            The order is invalid.
        SourceError
            The microscope could not carry it out, or its process has ended.
        """
        text = msgspec.json.encode(order_of(dict(order)))
        if ended := self.why_ended():
            raise SourceError(ended)
        stdin = self._process.stdin
        assert stdin is not None
        with self._answered:
            number = self._n_orders
            self._n_orders += 1
            self._awaited[number] = None
            tell(stdin, text)
            self._answered.wait_for(lambda: self._awaited[number] or self._has_ended, _ANSWER_S)
            answer = self._awaited.pop(number)
        if answer is not None and answer.error:
            raise SourceError(f"the microscope did not carry out {text.decode()}: {answer.error}")
        return f"{'done:' if answer else 'ordered, and not done yet:'} {text.decode()}"

    def _listen(self) -> None:
        """Take answers until the process ends; a failure is logged, also where its sender does not wait any more."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self._note(msgspec.json.decode(line, type=OrderAnswer))
            except msgspec.MsgspecError:  # a driver printed it before its output went to the log
                logger.warning("the microscope printed: %s", line[:80])
        with self._answered:
            self._has_ended = True
            self._answered.notify_all()

    def _note(self, answer: OrderAnswer) -> None:
        if answer.error:
            logger.warning("order to the microscope failed: %s", answer.error)
        with self._answered:
            if answer.number in self._awaited:
                self._awaited[answer.number] = answer
            self._answered.notify_all()

    def close(self) -> None:
        """End the process: by the end of its orders, then by force."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it died with an order that it had not read
                self._process.stdin.close()
        try:
            self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_EXIT_S)
        self._listening.join(_EXIT_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def why_ended(self) -> str:
        """Return why the process has ended, empty while it goes on."""
        code = self._process.poll()
        return "" if code is None else f"the microscope has ended (exit code {code}): {self.last_words()}"

    def last_words(self) -> str:
        """Return what the process said last."""
        return last_words_in(self._log)
