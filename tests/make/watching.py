"""What a watcher waits for."""

from __future__ import annotations

import time

from care_live.publish.subscriber import FromDaemon, Subscriber


def until(subscriber: Subscriber, kind: type[FromDaemon], timeout_s: float = 60.0) -> FromDaemon:
    """Return the next message of a kind."""
    deadline = time.monotonic() + timeout_s
    while (left := deadline - time.monotonic()) > 0:
        if isinstance(came := subscriber.next(left), kind):
            return came
    raise AssertionError(f"no {kind.__name__} within {timeout_s} s")
