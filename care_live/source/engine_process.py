"""A microscope that care_live drives: the engine runs in a process of its own and sends frames over the link.

The process prepares at once, but exposes nothing to light before the daemon waits for the first event.

pycromanager's engine, a camera driver and the daemon never share a process: a crash or a hang of the first two
costs the acquisition, not what was already acquired.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from collections.abc import Collection
from typing import IO

from care_live.config import MicroManagerConfig, PymmcorePlusConfig, RemoteConfig, VirtualConfig
from care_live.images import RunEnded, SourceEvent, VolumeKey
from care_live.source.child_process import last_words_in, start_engine, tell
from care_live.source.engine_run import GO
from care_live.source.remote import Remote

EngineConfig = VirtualConfig | MicroManagerConfig | PymmcorePlusConfig

_START_S = 90.0
"""A core with many devices takes long to load."""
_EXIT_S = 10.0
_LOOK_S = 0.25


class Driven:
    """A `Remote` source and the process that feeds it.

    Parameters
    ----------
    stored : volumes of a useq sequence that an earlier session has: they are not exposed again
    """

    def __init__(self, config: EngineConfig, *, run_id: str, stored: Collection[VolumeKey] = frozenset()) -> None:
        token = secrets.token_hex(16)
        self._remote = Remote(RemoteConfig(bind="tcp://127.0.0.1:0"), run_id=run_id, token=token)
        settings = config.model_dump(mode="json", exclude_unset=True) | {"kind": config.kind}
        job = {"address": self._remote.address, "token": token, "source": settings, "stored": sorted(stored)}
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = start_engine(job, self._log)
        self._start_until = time.monotonic() + _START_S
        self._ended = False

    @property
    def process_id(self) -> int:
        return self._process.pid

    def next_event(self, timeout_s: float) -> SourceEvent | None:
        deadline = time.monotonic() + timeout_s
        self._go()
        while not self._ended:
            was_over = self._process.poll() is not None  # looked at first: what it sent before is still there
            left = deadline - time.monotonic()
            event = self._remote.next_event(max(0.0, min(left, _LOOK_S)))
            if event is None:
                event = self._died() if was_over else self._too_late()
            if event is not None:
                self._ended = isinstance(event, RunEnded)
                return event
            if left <= 0:
                return None
        return None

    def stop(self) -> None:
        self._remote.stop()

    def close(self) -> None:
        """End the process; after the end of its run it gets some seconds to end by itself."""
        until = time.monotonic() + (_EXIT_S if self._ended else 0.0)
        while self._process.poll() is None and time.monotonic() < until:
            self._remote.next_event(_LOOK_S)  # it may still wait for the answer to its last message
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(_EXIT_S)
        self._go()
        self._remote.close()
        self._log.close()

    def _go(self) -> None:
        """Let the acquisition begin."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.closed:
            tell(stdin, GO)
            with contextlib.suppress(OSError):
                stdin.close()

    def _died(self) -> RunEnded:
        return RunEnded("failed", f"the acquisition process ended ({self._exit()}): {self.last_words()}")

    def _too_late(self) -> RunEnded | None:
        if self._remote.has_begun or time.monotonic() < self._start_until:
            return None
        self._process.kill()
        return RunEnded("failed", f"the acquisition did not begin within {_START_S:.0f} s: {self.last_words()}")

    def _exit(self) -> str:
        code = self._process.returncode
        return f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def last_words(self) -> str:
        """Return what the process said last."""
        return last_words_in(self._log)
