"""Ctrl-C and SIGTERM: the first one drains a daemon, the second stops it."""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from care_live.daemon.run import Daemon

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def drained_by_signals(daemon: Daemon) -> Iterator[None]:
    """While inside, Ctrl-C and SIGTERM drain the daemon, and stop it the second time.

    A signal interrupts the main thread anywhere, also where it holds a lock that `Daemon.drain` or a log line needs.
    So it only puts its number into a queue that needs no lock; a thread does the rest.
    """
    came: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def note(signum: int, frame: FrameType | None) -> None:
        came.put(signum)

    def obey() -> None:
        while (signum := came.get()) is not None:
            logger.warning("signal %s: %s", signal.Signals(signum).name, "draining; again to stop at once")
            daemon.drain()

    obeying = threading.Thread(target=obey, name="care-live signals")
    kept = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    obeying.start()  # started last: nothing may fail between its start and the block that ends it
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        came.put(None)
        obeying.join()
