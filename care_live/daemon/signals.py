"""Ctrl-C, SIGTERM and a terminal that is closed: the first one drains a daemon, the second stops it."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from care_live.daemon.run import Daemon

logger = logging.getLogger(__name__)


_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""What ends a program here: of the last two each system has one, sent when a terminal is closed and by Ctrl-Break."""


@contextlib.contextmanager
def drained_by_signals(daemon: Daemon) -> Iterator[None]:
    """While inside, a signal that would end the process drains the daemon, and stops it the second time.

    A closed terminal that is ignored already stays so: ``nohup`` keeps a program running without it. Ctrl-C does not: a
    shell has it ignored for what a script starts in the background, and an order to such a daemon must drain it.

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
    there = ((name, getattr(signal, name)) for name in _NAMES if hasattr(signal, name))
    taken = [one for name, one in there if name != "SIGHUP" or signal.getsignal(one) is not signal.SIG_IGN]
    kept = {one: signal.signal(one, note) for one in taken}
    obeying.start()  # started last: nothing may fail between its start and the block that ends it
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        came.put(None)
        obeying.join()


def drained_by_stdin(daemon: Daemon) -> None:
    """Drain a daemon when its standard input ends: for a program that starts it without a terminal, as a service does.

    Windows sends SIGBREAK to every service when a user logs off; that ends no run.
    """
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, signal.SIG_IGN)
    # a thread that waits for another program can't be ended: it must not keep this one
    threading.Thread(target=_drain_at_end, args=(daemon,), name="care-live leash", daemon=True).start()


def _drain_at_end(daemon: Daemon) -> None:
    with contextlib.suppress(OSError):  # there is none, so it has ended
        while os.read(0, 4096):  # sys.stdin has a lock, which the interpreter would want at its end
            pass
    logger.warning("standard input has ended: draining")
    daemon.drain()
