"""The inference process: one engine, one request at a time, over when its parent is."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING

from care_live.errors import CareLiveError
from care_live.restore import talk

if TYPE_CHECKING:
    from care_live.config import RestoreConfig
    from care_live.images import Restored
    from care_live.restore.engine import Engine
    from care_live.restore.shared import Window

logger = logging.getLogger(__name__)


def main(pipe: connection.Connection, config: RestoreConfig) -> None:
    """Open the network, say so, then restore what comes until told to stop.

    Ctrl-C in a terminal reaches every process of the group; this one goes on, because the daemon drains.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _ends_with_its_parent():
        try:
            engine = _open(config)
        except CareLiveError as error:
            pipe.send(talk.Failed(type(error).__name__, str(error)))
            return
        pipe.send(talk.Ready(engine.card, engine.identity, engine.provider))
        _serve(pipe, engine)


def _open(config: RestoreConfig) -> Engine:
    from care_live.model import file
    from care_live.restore.engine import Engine

    return Engine(config.model or file.shipped(), config)


def _serve(pipe: connection.Connection, engine: Engine) -> None:
    from care_live.restore.shared import Window

    window = Window()
    while not isinstance(message := _receive(pipe), talk.Stop):
        try:
            pipe.send(_restore(engine, window, message))
        except CareLiveError as error:
            pipe.send(talk.Failed(type(error).__name__, str(error)))


def _receive(pipe: connection.Connection) -> talk.Work | talk.Stop:
    """Return the next message; a closed pipe is the end, too."""
    try:
        message: talk.Work | talk.Stop = pipe.recv()
    except EOFError:
        return talk.Stop()
    return message


def _restore(engine: Engine, window: Window, work: talk.Work) -> talk.Done:
    from care_live.images import read_only

    engine.memories = dict(work.memories)
    volumes = [
        replace(volume, pixels=read_only(window.array(place)))
        for volume, place in zip(work.volumes, work.pixels, strict=True)
    ]
    maps = {head: window.array(place) for head, place in work.results.items()}
    restored = engine.restore(volumes, into=maps)
    outcomes = tuple(
        _outcome(result, [volume.key for volume in volumes].index(result.volume.key)) for result in restored
    )
    del restored, maps, volumes
    window.keep_only(work.alive)
    return talk.Done(outcomes, engine.memories)


def _outcome(restored: Restored, source: int) -> talk.Outcome:
    return talk.Outcome(
        restored.voxel_size_um,
        restored.low,
        restored.high,
        restored.flags,
        restored.infer_s,
        restored.c_out,
        source,
    )


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
