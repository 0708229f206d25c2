"""One inference process of a remote worker, with the memory that stands for the daemon's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from msgspec.structs import replace
from numpy.typing import NDArray

from care_live.errors import CareLiveError, ProtocolError
from care_live.images import VolumeKey
from care_live.maps import Head
from care_live.worker import protocol
from care_live.worker.carried_files import lay_down, settled
from care_live.worker.inference_process import Inference
from care_live.worker.liveness import LostError
from care_live.worker.remote_buffers import MapRun, RemoteBuffers
from care_live.worker.remote_protocol import (
    BEAT_S,
    Beat,
    FromWorker,
    Gone,
    MapPlanes,
    Order,
    RawPlanes,
    SessionStart,
    WorkerAnswer,
)
from care_live.worker.shared_memory import Pool

Outgoing: TypeAlias = tuple[FromWorker, Sequence[NDArray[Any]]]


class RemoteSession:
    """Follows the daemon's orders with a child process, as the daemon would on its own machine.

    Parameters
    ----------
    join : the order to start
    parts : its files
    place : folder of the worker, in which this session has one of its own
    """

    def __init__(self, join: SessionStart, parts: Sequence[memoryview], place: Path) -> None:
        self.number = join.session
        self._folder = tempfile.TemporaryDirectory(dir=place)
        folder = Path(self._folder.name)
        lay_down(join.files, parts, folder)
        self._child = Inference(settled(join.config, folder), join.budgets_px)
        self._pool = Pool()
        self._buffers: dict[VolumeKey, RemoteBuffers] = {}
        self._given_up: list[RemoteBuffers] = []
        """The process may still write to them until it has answered the next order."""
        self._work: protocol.Work | None = None
        self._is_asked = False
        """Whether the process has the work, and owes its result."""
        self._heads: tuple[Head, ...] = ()
        self._beat_s = 0.0
        self._how = ""

    @property
    def is_busy(self) -> bool:
        """Whether something may soon be sent."""
        return bool(self._buffers) or self._child.ready is None

    def take(self, message: Order | RawPlanes, parts: Sequence[memoryview]) -> None:
        """Follow one message of the daemon; what can't be done ends the session."""
        try:
            if isinstance(message, RawPlanes):
                self._fill(message, parts)
            else:
                self._obey(message.request, parts)
        except CareLiveError as error:
            self._how = self._how or f"cannot go on: {error}"

    def news(self) -> Iterator[Outgoing]:
        """Yield what is to be sent now; a `Gone` is the last of it."""
        try:
            yield from self._early()
            if self._child.has_news():
                yield from self._answer()
            self._how = self._how or self._child.lost()
        except LostError as lost:
            self._how = self._how or str(lost)
        if self._how:
            yield Gone(self.number, f"{self._how} ({self._child.end(0.0)})"[:4000]), ()
        elif time.monotonic() - self._beat_s > BEAT_S:
            yield self._beat()

    def close(self) -> None:
        """End the process."""
        self._child.end(0.0)
        self._buffers.clear()
        self._folder.cleanup()

    # -- orders ------------------------------------------------------------------------------------------------------

    def _obey(self, request: protocol.InferenceRequest, parts: Sequence[memoryview]) -> None:
        match request:
            case protocol.Begin():
                buffers = self._buffers[request.key] = RemoteBuffers(self._pool, request)
                self._child.send(buffers.in_here(request))
            case protocol.PlanesPlaced():
                if (found := self._buffers.get(request.key)) is not None:
                    for (channel, z), part in zip(request.planes, parts, strict=True):
                        found.place(channel, z, part)
                    self._child.send(request)
            case protocol.Work():
                self._begin_work(request)
            case protocol.Abandon():
                self._drop(request.key)
                self._child.send(request)
            case _:
                self._child.send(request)

    def _begin_work(self, work: protocol.Work) -> None:
        """Take an order; the process gets it once all its planes are here."""
        key = work.volumes[0].key
        if work.choice is not None:
            self._drop(key)
        if key not in self._buffers:
            self._buffers[key] = RemoteBuffers(self._pool, work)
        self._work = work
        self._ask_if_full()

    def _fill(self, message: RawPlanes, parts: Sequence[memoryview]) -> None:
        if self._work is None or message.key not in self._buffers or len(parts) != 1:
            raise ProtocolError("planes came that belong to no order")
        self._buffers[message.key].place(message.channel, message.z, parts[0])
        self._ask_if_full()

    def _ask_if_full(self) -> None:
        work = self._work
        if work is not None and not self._is_asked and self._buffers[work.volumes[0].key].is_full:
            self._is_asked = True
            here = self._buffers[work.volumes[0].key].in_here(work)
            self._child.send(replace(here, alive=self._pool.alive()))

    def _drop(self, key: VolumeKey) -> None:
        if (buffers := self._buffers.pop(key, None)) is not None:
            self._given_up.append(buffers)

    # -- results -----------------------------------------------------------------------------------------------------

    def _early(self) -> Iterator[Outgoing]:
        """Yield planes that became final while their volumes are recorded, and how far the process is."""
        for key, buffers in self._buffers.items():
            if buffers.n_reported != (buffers.progress.n_taken, buffers.progress.n_restored):
                yield from (self._planes(key, run) for run in buffers.restored(self._heads))
                yield self._beat()

    def _answer(self) -> Iterator[Outgoing]:
        answer = self._received()
        if isinstance(answer, protocol.Ready):
            self._heads = tuple({head: None for one in answer.networks for head in one.card.heads})
        elif self._work is not None and self._is_asked:
            key = self._work.volumes[0].key
            buffers = self._buffers.pop(key)
            if isinstance(answer, protocol.Done):
                yield from (self._planes(key, run) for run in buffers.rest(answer))
            self._work, self._is_asked = None, False
            self._given_up.clear()
        yield WorkerAnswer(self.number, answer), ()

    def _received(self) -> protocol.InferenceAnswer:
        try:
            return self._child.await_ready(0.0) if self._child.ready is None else self._child.receive(limit_s=0.0)
        except LostError:
            raise
        except CareLiveError as error:
            return protocol.Failed(type(error).__name__, str(error))

    def _planes(self, key: VolumeKey, run: MapRun) -> Outgoing:
        head, c, z, planes = run
        return MapPlanes(self.number, key, head, c, z), [planes]

    def _beat(self) -> Outgoing:
        self._beat_s = time.monotonic()
        streamed = ((key, *buffers.n_reported) for key, buffers in self._buffers.items() if any(buffers.n_reported))
        return Beat(self.number, self._child.cpu_s, tuple(streamed)), ()
