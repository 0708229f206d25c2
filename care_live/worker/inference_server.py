"""The inference process: its networks, one request at a time; it ends with its parent."""

from __future__ import annotations

import itertools
import logging
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING

import psutil

from care_live.backends.failures import translated
from care_live.errors import CareLiveError, OutOfMemoryError
from care_live.images import Restored, RestoredHead, Volume, read_only
from care_live.reasons import Choice
from care_live.restore.choice import given_up
from care_live.restore.in_flight import PlaneProgress
from care_live.wire.codec import record_of
from care_live.worker import limits, protocol
from care_live.worker.liveness import Pulse

if TYPE_CHECKING:
    from care_live.config import RestoreConfig
    from care_live.restore.engine import Engine
    from care_live.restore.network_set import NetworkSet
    from care_live.restore.volume_stream import VolumeStream

logger = logging.getLogger(__name__)


def main(pipe: connection.Connection, pulse: Pulse, config: RestoreConfig, budgets_px: Mapping[int, int]) -> None:
    """Open the networks, report that, then restore what comes until the message to stop.

    Ctrl-C in a terminal, its end, and systemd's SIGTERM reach every process of the group; this one goes on, because
    the daemon drains.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):  # of the last two each system has one
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    pulse.entered()
    limits.end_first()
    with _ends_with_its_parent():
        try:
            with translated("inference starts"):
                networks = _open(config, budgets_px, pulse)
        except OutOfMemoryError as error:
            _send(pipe, protocol.Failed(type(error).__name__, f"{error}: {_no_memory()}"))
            return
        except CareLiveError as error:
            _send(pipe, protocol.Failed(type(error).__name__, str(error)))
            return
        _send(pipe, _ready(networks))
        _serve(pipe, networks, pulse)


def _open(config: RestoreConfig, budgets_px: Mapping[int, int], pulse: Pulse) -> NetworkSet:
    from care_live.restore.network_set import NetworkSet
    from care_live.restore.select import candidates

    each = (config.only(number) for number in range(len(config.networks)))
    if not any({"cuda", "tensorrt"}.intersection(candidates(one)) for one in each):  # a driver's needs are not known
        limits.confine()
    return NetworkSet(config, budgets_px=budgets_px, running=pulse.running)


def _ready(networks: NetworkSet) -> protocol.Ready:
    opened = (protocol.NetworkReady(one.card, one.identity, one.provider) for one in networks.engines)
    return protocol.Ready(tuple(opened), networks.budget.limit_bytes)


def _no_memory() -> str:
    """Return a message: memory ran out before the network was open."""
    n_mib = psutil.virtual_memory().available // 2**20
    return (
        f"memory ran out while inference started; the system has {n_mib} MiB available, a limit on this process may "
        "leave it less: close other programs, make tiles smaller (restore.tile_px) or threads fewer (restore.threads)"
    )


class _Server:
    """Answers requests with the networks of one process, one volume after the other."""

    def __init__(self, networks: NetworkSet) -> None:
        from care_live.backends.cuda import copies
        from care_live.worker.shared_memory import SegmentView

        self._networks = networks
        self._window = SegmentView(copies().lock) if networks.on_gpu else SegmentView()
        self._to_stream: tuple[int, int, int] | None = None

    def warm_up(self, warm_up: protocol.WarmUp) -> None:
        """Prepare for volumes of one shape; what fails now fails again, and is reported, with the first volume."""
        self._to_stream = warm_up.shape
        for number in range(len(self._networks.engines)):
            _try_to_warm_up(self._use_for_all(number, warm_up.shape).warm_up, warm_up.shape)

    def use_spare_time(self) -> None:
        """Prepare for streaming while there is no other work: a first volume, of unknown range, is not streamed."""
        if self._to_stream is not None:
            shape, self._to_stream = self._to_stream, None
            for number in range(len(self._networks.engines)):
                _try_to_warm_up(self._use_for_all(number, shape).streams.warm_up, shape)

    def begin(self, begin: protocol.Begin) -> None:
        """Decide whether to stream a volume that is about to come; begin if so."""
        recorded = [self._window.array(place) for place in begin.pixels]
        maps = {head: self._window.array(place) for head, place in begin.results.items()}
        progress = PlaneProgress(self._window.array(begin.progress))
        streams = self._use(begin.network, begin.pixels[0].shape, len(recorded)).streams
        streams.begin(begin.key, recorded, begin.spans, maps, plane_s=begin.plane_s, progress=progress)

    def placed(self, placed: protocol.PlanesPlaced) -> None:
        """Take planes in; all steps that they make possible run at once."""
        for number, engine in enumerate(self._networks.engines):
            volume = engine.streams.in_flight.get(placed.key)
            if volume is None or (stream := volume.held) is None:
                continue
            self._networks.go_on(number)
            for channel, z in placed.planes:
                stream.place(channel, z)
            if stream.choice.kind == "whole":
                engine.streams.in_flight.stop(volume, stream.choice)

    def abandon(self, abandon: protocol.Abandon) -> None:
        """Drop a volume that the daemon has given up."""
        for engine in self._networks.engines:
            if (volume := engine.streams.in_flight.abandon(abandon.key, abandon.choice)) is not None:
                _abandon(volume.held, abandon.choice)

    def _use_for_all(self, number: int, shape: Sequence[int]) -> Engine:
        """Return a network that will read volumes of one shape in all channels that it reads together."""
        return self._use(number, shape, self._networks.engines[number].card.n_inputs)

    def _use(self, number: int, shape: Sequence[int], n_channels: int = 1) -> Engine:
        return self._networks.use(number, n_channels * math.prod(shape))

    def work(self, work: protocol.Work) -> protocol.Done:
        """Restore one time point; most of it is done already where it was streamed."""
        engine, key = self._networks.use(work.network, work.n_px), work.volumes[0].key
        engine.memories = dict(work.memories)
        if work.choice is None:
            channels, planes = range(len(work.pixels)), range(work.pixels[0].shape[0])
            self.placed(protocol.PlanesPlaced(key, tuple(itertools.product(channels, planes))))
        volume = engine.streams.in_flight.complete(key)
        stream = None if volume is None else volume.held
        choice = given_up(None if volume is None else volume.choice, work.choice)
        if work.choice is not None:
            _abandon(stream, work.choice)
        results = self._restored(engine, work, stream)
        if stream is not None:
            choice = stream.choice
            if stream.out_of_memory:
                engine.streams.make_smaller()
        del volume, stream
        self._window.keep_only(work.alive)
        heads = tuple(record_of(RestoredHead, one) for one in results)
        maps = tuple(tuple(one.maps) for one in results)
        return protocol.Done(heads, maps, engine.memories, choice, self._networks.held_bytes)

    def _restored(self, engine: Engine, work: protocol.Work, stream: VolumeStream | None) -> tuple[Restored, ...]:
        """Let the engine do what is left to do; the results lie in shared memory."""
        if stream is not None and work.choice is None:
            maps = stream.into
        else:
            maps = {head: self._window.array(place) for head, place in work.results.items()}
        volumes = [
            record_of(Volume, head, pixels=read_only(self._window.array(place)))
            for head, place in zip(work.volumes, work.pixels, strict=True)
        ]
        return engine.restore(volumes, into=maps, stream=stream, outputs=work.outputs)


def _abandon(stream: VolumeStream | None, choice: Choice) -> None:
    if stream is not None:
        stream.abandon(choice)


def _serve(pipe: connection.Connection, networks: NetworkSet, pulse: Pulse) -> None:
    server = _Server(networks)
    while not isinstance(message := _receive(pipe, server.use_spare_time), protocol.StopInference):
        match message:
            case protocol.WarmUp():
                server.warm_up(message)
            case protocol.Begin() | protocol.PlanesPlaced() | protocol.Abandon():
                _hint(server, message)
            case protocol.Work():
                _send(pipe, _answer(server, message))
        pulse.handled()


def _hint(server: _Server, message: protocol.Begin | protocol.PlanesPlaced | protocol.Abandon) -> None:
    """Take what may be restored early; what fails now costs only that: the whole volume comes with its work."""
    try:
        with translated("planes while they come"):
            match message:
                case protocol.Begin():
                    server.begin(message)
                case protocol.PlanesPlaced():
                    server.placed(message)
                case protocol.Abandon():
                    server.abandon(message)
    except CareLiveError as error:
        logger.warning("early=no key=%s reason=%s", tuple(message.key), error)


def _answer(server: _Server, work: protocol.Work) -> protocol.Done | protocol.Failed:
    try:
        with translated("restoring a volume"):
            return server.work(work)
    except CareLiveError as error:
        return protocol.Failed(type(error).__name__, str(error))


def _try_to_warm_up(warm_up: Callable[[tuple[int, int, int]], None], shape: tuple[int, int, int]) -> None:
    try:
        warm_up(shape)
    except CareLiveError as error:
        logger.warning("warm_up failed shape=%s reason=%s", shape, error)


def _receive(pipe: connection.Connection, use_spare_time: Callable[[], None]) -> protocol.InferenceRequest:
    """Return the next message; a closed pipe is the end, too."""
    try:
        if not pipe.poll():
            use_spare_time()
        return protocol.requests.decode(pipe.recv_bytes())
    except (EOFError, BrokenPipeError):
        return protocol.StopInference()


def _send(pipe: connection.Connection, answer: protocol.InferenceAnswer) -> None:
    pipe.send_bytes(protocol.answers.encode(answer))


@contextmanager
def _ends_with_its_parent() -> Iterator[None]:
    """End this process when its parent dies, even in the middle of a volume."""
    parent = parent_process()
    assert parent is not None, "the inference process is started by another one"
    stop, stopped = connection.Pipe()

    def watch() -> None:
        if parent.sentinel in connection.wait([parent.sentinel, stopped]):
            os._exit(1)

    watcher = threading.Thread(target=watch, name="parent-watch")
    watcher.start()
    try:
        yield
    finally:
        stop.send(None)
        watcher.join()
