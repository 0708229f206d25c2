"""An inference process on another machine, for the daemon: what it is sent, and what comes back, goes over a link."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from numpy.typing import NDArray

from care_live.config import RestoreConfig
from care_live.errors import ProtocolError
from care_live.images import VolumeKey
from care_live.worker import protocol
from care_live.worker.carried_files import CarriedConfig, named_as_here
from care_live.worker.inference_link import InferenceLink
from care_live.worker.remote_protocol import (
    QUEUED_BYTES,
    Beat,
    FromWorker,
    Gone,
    Leave,
    MapPlanes,
    Order,
    SessionStart,
    ToSession,
    WorkerAnswer,
)
from care_live.worker.remote_volume import RemoteVolume, header_of
from care_live.worker.shared_memory import SegmentView

logger = logging.getLogger(__name__)

_Parts: TypeAlias = Sequence[NDArray[Any] | bytes]
SendToPeer: TypeAlias = Callable[[ToSession, _Parts], None]
"""Queues a message with its parts; does not wait."""

IDLE_S = 60.0
"""A worker that owes a volume, and for so long takes nothing, sends nothing and uses no processor time, hangs."""


@dataclass(slots=True)
class _Seen:
    """The last sign of work."""

    cpu_s: float = 0.0
    at_s: float = field(default_factory=time.monotonic)

    def note(self, cpu_s: float | None = None) -> None:
        if cpu_s is None or cpu_s > self.cpu_s:
            self.cpu_s, self.at_s = max(self.cpu_s, cpu_s or 0.0), time.monotonic()


class RemoteInference(InferenceLink):
    """Waits for a machine, then runs there until it is ended or lost; it never goes to a second one.

    Parameters
    ----------
    config : networks and how to run them
    carries : the same, with the files that it names
    budgets_px : by network: pixels that it may read at once, after an earlier process died of more
    give_back : called once when it has ended
    owner : the worker of the daemon that it is for; None: it is the only process of one
    """

    def __init__(
        self,
        config: RestoreConfig,
        carries: CarriedConfig,
        budgets_px: Mapping[int, int],
        give_back: Callable[[RemoteInference], None],
        *,
        owner: object = None,
    ) -> None:
        super().__init__(config)
        self.owner = self if owner is None else owner
        self._carries, self._budgets_px, self._give_back = carries, dict(budgets_px), give_back
        self._changed = threading.Condition()
        self._send: SendToPeer | None = None
        self._session = 0
        self._host = self._how = ""
        self._answers: deque[protocol.InferenceAnswer] = deque()
        self._view = SegmentView()
        self._volumes: dict[VolumeKey, RemoteVolume] = {}
        self._owed: protocol.Work | None = None
        self._queued_bytes = 0
        self._seen = _Seen()

    # -- the daemon's side: any thread -------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        return self._host

    @property
    def is_absent(self) -> bool:
        return self._send is None and not self._how

    @property
    def is_dead(self) -> bool:
        return bool(self._how) and not self._answers

    @property
    def cpu_s(self) -> float:
        return self._seen.cpu_s

    @property
    def is_full(self) -> bool:
        return self._queued_bytes >= QUEUED_BYTES

    def send(self, message: protocol.InferenceRequest) -> None:
        """Send a message, with the pixels that it speaks of; before a machine is found, it is dropped."""
        with self._changed:
            if self._send is None or self._how:
                return
            match message:
                case protocol.Begin():
                    self._volumes[message.key] = RemoteVolume(message, self._view)
                    self._order(message)
                case protocol.PlanesPlaced():
                    if (volume := self._volumes.get(message.key)) is not None:
                        self._order(message, volume.copies(message.planes))
                case protocol.Work():
                    self._work(message)
                case _:
                    if isinstance(message, protocol.Abandon):
                        self._volumes.pop(message.key, None)
                    self._order(message)

    def has_news(self, wait_s: float = 0.0) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._answers or self._how), wait_s)

    def lost(self) -> str:
        with self._changed:
            owes = self._owed is not None and not self._answers
            if owes and time.monotonic() - self._seen.at_s > IDLE_S:
                self._lose(f"hung: {self._host} has done nothing for {IDLE_S:.0f} s")
            return "" if self._answers else self._how

    def end(self, deadline_s: float) -> str:
        """End it; what comes of it later is dropped, so this waits for nothing."""
        with self._changed:
            how = self._how
            if self._send is not None:
                self._queue(Leave(self._session))
            self._lose("was ended")
            self._answers.clear()
            self._forget()
        self._give_back(self)
        where = f"on {self._host}" if self._host else "on no machine yet"
        return f"{where}; {how}" if how and how != "was ended" else where

    # -- the link's side: the thread of the port ---------------------------------------------------------------------

    def join(self, session: int, host: str, send: SendToPeer) -> None:
        """Take a machine that has nothing to do."""
        with self._changed:
            if self._how:  # it was ended while the machine was chosen
                send(Leave(session), ())
                return
            self._session, self._host, self._send = session, host, send
            files, said = self._carries.files, dict(self._carries.settings)
            self._queue(SessionStart(session, said, self._budgets_px, tuple(files)), list(files.values()))
            self._seen.note()
            self._changed.notify_all()

    def take(self, message: FromWorker, parts: Sequence[memoryview]) -> None:
        """Take one message of this session; an impossible one loses the process."""
        with self._changed:
            if self._how:
                return
            try:
                self._take(message, parts)
            except ProtocolError as error:
                self._lose(f"sent an invalid message: {error}")

    def lose(self, how: str) -> None:
        """Note that the machine or the link is lost."""
        with self._changed:
            self._lose(how)

    def moved(self, parts: _Parts) -> None:
        """Note that the link has taken a message of those that wait to be sent."""
        with self._changed:
            self._queued_bytes -= _n_bytes_in(parts)
            self._seen.note()

    # -- behind the lock ---------------------------------------------------------------------------------------------

    def _take(self, message: FromWorker, parts: Sequence[memoryview]) -> None:
        match message:
            case Beat(cpu_s=cpu_s, progress=progress):
                self._seen.note(cpu_s)
                shown = () if self.ready is None else tuple(h for one in self.ready.networks for h in one.card.heads)
                for key, n_taken, n_restored in progress:
                    if (volume := self._volumes.get(key)) is not None:
                        volume.note(n_taken, n_restored, shown)
            case MapPlanes():
                self._seen.note()
                if len(parts) != 1:
                    raise ProtocolError(f"planes came in {len(parts)} parts")
                if (volume := self._volumes.get(message.key)) is not None:  # else it was given up meanwhile
                    volume.take(message, parts[0])
            case WorkerAnswer(answer=answer):
                self._answered(answer)
            case Gone(how=how):
                self._lose(how or "died")
            case _:
                raise ProtocolError(f"{type(message).__name__} came")

    def _answered(self, answer: protocol.InferenceAnswer) -> None:
        if isinstance(answer, protocol.Done) or (self.ready is not None and isinstance(answer, protocol.Failed)):
            if self._owed is None:
                raise ProtocolError("an answer came that was not asked for")
            volume = self._volumes.pop(self._owed.volumes[0].key)
            if isinstance(answer, protocol.Done):
                volume.check(answer)
            self._owed = None
        elif isinstance(answer, protocol.Ready) and self.ready is not None:
            raise ProtocolError("it was ready before")
        if isinstance(answer, protocol.Failed):
            said = named_as_here(answer.message, self.config)
            answer = protocol.Failed(answer.kind, f"worker on {self._host}: {said}")
        self._answers.append(answer)
        self._changed.notify_all()

    def _work(self, work: protocol.Work) -> None:
        key = work.volumes[0].key
        volume = self._volumes.get(key) if work.choice is None else None
        if volume is None:
            volume = self._volumes[key] = RemoteVolume(work, self._view)
        self._owed = work
        self._seen.note()
        self._order(work)
        for channel, z, planes in volume.rest():
            self._queue(header_of(self._session, work, channel, z), [planes])
        self._view.keep_only(work.alive)

    def _order(self, request: protocol.InferenceRequest, parts: Sequence[NDArray[Any]] = ()) -> None:
        self._queue(Order(self._session, request), parts)

    def _queue(self, message: ToSession, parts: _Parts = ()) -> None:
        assert self._send is not None, "a message goes to a machine"
        self._queued_bytes += _n_bytes_in(parts)
        self._send(message, parts)

    def _lose(self, how: str) -> None:
        self._how = self._how or how
        self._owed = None
        self._changed.notify_all()

    def _forget(self) -> None:
        """Let go of the memory that the daemon shares."""
        self._volumes.clear()
        self._view.keep_only(())

    def _next_answer(self) -> protocol.InferenceAnswer | None:
        with self._changed:
            return self._answers.popleft() if self._answers else None


def _n_bytes_in(parts: _Parts) -> int:
    return sum(len(part) if isinstance(part, bytes) else part.nbytes for part in parts)
