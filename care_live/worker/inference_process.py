"""One inference process, for its parent: start, send, receive, end."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import connection

import psutil

from care_live.blas_threads import one_blas_thread
from care_live.config import RestoreConfig
from care_live.errors import ProtocolError
from care_live.restore.ranges import LearntRanges
from care_live.worker import inference_server, limits, liveness, protocol
from care_live.worker.inference_link import InferenceLink
from care_live.worker.liveness import LostError
from care_live.worker.processor_pace import ProcessorPace

_DYING_S = 2.0
"""Between the end of its pipe and its own."""
_NO_BUDGETS: Mapping[int, int] = {}
_STARTING = 15.0
"""Times as much silence while it starts: imports may wait for a slow disk."""


class Inference(InferenceLink):
    """A child of this process.

    Parameters
    ----------
    config : its networks and how to run them; it starts by itself
    budgets_px : by network: pixels that it may read at once, after an earlier process died of more
    """

    def __init__(self, config: RestoreConfig, budgets_px: Mapping[int, int] = _NO_BUDGETS) -> None:
        super().__init__(config)
        context = multiprocessing.get_context("spawn")
        self._pulse, self._silence = liveness.Pulse(context), liveness.Silence()
        self._n_sent, self._cpu_s = 0, 0.0
        self._is_cut_off = False
        self._pipe, theirs = context.Pipe()
        self._unsent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sending_lock, self._ending = threading.Lock(), threading.Lock()
        self._killed = False
        self._sending = threading.Thread(target=self._write, name="to inference")
        self._process = context.Process(
            target=inference_server.main,
            args=(theirs, self._pulse, config, dict(budgets_px)),
            name="care-live-inference",
            daemon=True,
        )
        with one_blas_thread():
            self._process.start()
        theirs.close()
        self._sending.start()

    @property
    def process_id(self) -> int | None:
        """Its number in the operating system."""
        return self._process.pid

    @property
    def is_dead(self) -> bool:
        """Whether it has ended, by itself or by force."""
        return bool(connection.wait([self._process.sentinel], timeout=0))

    def send(self, message: protocol.InferenceRequest) -> None:
        """Send a message, never waiting for a process that does not read; `receive` notices that it is lost."""
        text = protocol.requests.encode(message)
        with self._sending_lock:
            self._n_sent += 1
            self._unsent.put(text)

    def _write(self) -> None:
        """Write messages into the pipe, in a thread of its own: the pipe of a process that hangs may be full."""
        while (text := self._unsent.get()) is not None:
            with contextlib.suppress(OSError):
                self._pipe.send_bytes(text)

    def lost(self) -> str:
        """Look for a sign of life; return how it was lost: it died, or makes no progress; empty if it is running."""
        if self.is_dead:
            return "died"
        if starving := self._starving():
            return starving
        if self.has_news():
            return ""
        seen = self._pulse.read(self.cpu_s)
        silent_s = self._silence.look(seen, time.monotonic(), owes=self._owes(seen), on_device=self._on_device)
        limit_s = liveness.limit_s(self.config.hang_s, seen, on_device=self._on_device)
        hangs = silent_s > (limit_s if self.ready else _STARTING * limit_s)
        return f"hung: no sign of life for {silent_s:.1f} s" if hangs else ""

    def _starving(self) -> str:
        """Return what to say where it has taken nearly all memory of the machine; empty if it has not."""
        memory = psutil.virtual_memory()
        with contextlib.suppress(psutil.Error):
            taken = psutil.Process(self.process_id).memory_info().rss
            if limits.starves(taken, memory.available, memory.total):
                left = memory.available // 2**20
                return f"took {taken // 2**20} MiB of memory and left {left} MiB: recording must not run out of it"
        return ""

    @property
    def cpu_s(self) -> float:
        """Processor time that it has used so far."""
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(self.process_id).cpu_times()
            self._cpu_s = times.user + times.system
        return self._cpu_s

    def has_news(self, wait_s: float = 0.0) -> bool:
        """Return whether `receive` would return, or raise, at once; wait a little for that."""
        return bool(connection.wait([self._pipe, self._process.sentinel], timeout=wait_s))

    def end(self, deadline_s: float) -> str:
        """End it: by a message within the deadline, then by force; return its exit code, and what that means.

        Any thread may do so, also while another one receives: the pipe is closed with the last reference to this
        object, since its number would at once be another file's.
        """
        with self._ending:
            if deadline_s > 0 and not self.is_dead:
                self.send(protocol.StopInference())
                self._process.join(deadline_s)
            if self._is_cut_off:  # it is ending by itself: its exit code has the reason
                self._process.join(_DYING_S)
            if not self.is_dead:
                self._process.kill()
                self._killed = True
            self._process.join(5.0)
            self._unsent.put(None)
            self._sending.join(5.0)
            code = self._process.exitcode
        return f"exit code {code}" if self._killed else limits.cause(code, entered=self._pulse.has_entered)

    @property
    def _on_device(self) -> bool:
        networks = () if self.ready is None else self.ready.networks
        return any(network.provider in {"cuda", "tensorrt"} for network in networks)

    def _owes(self, seen: liveness.LastSeen) -> bool:
        """Return whether it has something to do: it starts, or has not dealt with all that it was sent."""
        return self.ready is None or seen.n_handled < self._n_sent

    def _next_answer(self) -> protocol.InferenceAnswer | None:
        try:
            text = self._pipe.recv_bytes() if self._pipe.poll() else None
        except (EOFError, OSError):
            text = None
        if text is None:
            self._is_cut_off = True
            return None
        try:
            return protocol.answers.decode(text)
        except ProtocolError as error:
            raise LostError(f"sent an invalid message: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class RunningNetworks:
    """A process, what runs in it, and what earlier volumes taught; the record outlives a process that is lost."""

    inference: InferenceLink
    ready: protocol.Ready
    """Of this process, or of the one that it replaces, while it starts."""
    memories: LearntRanges
    """What earlier volumes taught about intensity: kept here, so that a restart does not show."""
    paces: tuple[ProcessorPace, ...]
    """Of each network."""

    @classmethod
    def begun(cls, inference: InferenceLink, ready: protocol.Ready, memories: LearntRanges) -> RunningNetworks:
        """Return networks that have restored no volume yet."""
        return cls(inference, ready, memories, tuple(ProcessorPace() for _ in ready.networks))

    @property
    def budgets_px(self) -> dict[int, int]:
        """By network: pixels that it may read at once, where it died of more."""
        return {number: px for number, pace in enumerate(self.paces) if (px := pace.budget_px) is not None}
