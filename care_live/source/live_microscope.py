"""A virtual microscope in Live, in a process of its own: started by the daemon, driven by a person's orders."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from typing import IO, Any

import msgspec

from care_live.config import VirtualConfig
from care_live.errors import SourceError
from care_live.source.child_process import last_words, start_engine, tell
from care_live.source.stage_orders import LiveJob, order_of

_EXIT_S = 10.0
_LAST_WORDS_BYTES = 8192


class LiveMicroscope:
    """The process, and what it may be ordered.

    Parameters
    ----------
    config : the microscope
    address, address_of_runs : where Live and runs go
    """

    def __init__(self, config: VirtualConfig, *, address: str, address_of_runs: str) -> None:
        job = LiveJob(address, address_of_runs, config.model_dump(mode="json", exclude_unset=True))
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process: subprocess.Popen[bytes] = start_engine(
            msgspec.to_builtins(job), self._log, module="care_live.source.live_run"
        )

    def move(self, order: Mapping[str, Any]) -> str:
        """Pass an order on; return it in words.

        Raises
        ------
        ConfigError
            The order is invalid.
        SourceError
            The microscope's process has ended.
        """
        checked = order_of(dict(order))
        stdin = self._process.stdin
        if stdin is None or self._process.poll() is not None:
            raise SourceError(f"the microscope has ended: {self.last_words()}")
        text = msgspec.json.encode(checked)
        tell(stdin, text)
        return f"ordered {text.decode()}"

    def close(self) -> None:
        """End the process: by the end of its orders, then by force."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_EXIT_S)
        self._log.close()

    def last_words(self) -> str:
        """Return what the process said last."""
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
        return last_words(self._log.read().decode(errors="replace"))
